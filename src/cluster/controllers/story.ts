/** What controller tests share: a control plane, a few objects, and a stand-in for scheduler and kubelets that obeys at once. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rfc3339Seconds } from '#base/clock.ts'
import type { ControlPlane } from '#sim/control-plane.ts'
import type { SubmittedDeployment } from '../api/apps/v1/deployment.ts'
import { Deployment } from '../api/apps/v1/deployment.ts'
import { Pod } from '../api/core/v1/pod.ts'

export const inDefault = (name: string): { readonly namespace: string; readonly name: string } => ({ namespace: 'default', name })

export function deploymentOf(name: string, image: string, spec: Partial<NonNullable<SubmittedDeployment['spec']>> = {}): SubmittedDeployment {
  return {
    metadata: inDefault(name),
    spec: { replicas: 3, selector: { matchLabels: { app: name } }, template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'main', image }] } }, ...spec },
  }
}

export function imageOf(pod: Pod): string {
  return pod.spec.containers[0]?.image ?? ''
}

/**
 * Binds pods, makes those ready that `healthy` accepts, and removes those being deleted, each as one write; one pass.
 * Answers how many writes it made.
 */
export async function obey({ client, clock }: ControlPlane, healthy: (pod: Pod) => boolean = () => true): Promise<number> {
  const { items } = await client.list(Pod)
  let writes = 0
  for (const [index, pod] of items.entries()) {
    const { namespace, name } = pod.metadata
    if (pod.metadata.deletionTimestamp !== undefined) {
      await client.delete(Pod, { namespace, name }, { gracePeriodSeconds: 0 })
      writes += 1
    } else if ((pod.spec.nodeName ?? '') === '') {
      await client.createSubresource(Pod, { namespace, name }, 'binding', { target: { name: `node-${index % 3}` } })
      writes += 1
    } else if (pod.status.phase === 'Pending' && healthy(pod)) {
      const ready = { type: 'Ready', status: 'True', lastTransitionTime: rfc3339Seconds(clock.nowMs()) } as const
      await client.update(Pod, { ...pod, status: { ...pod.status, phase: 'Running', podIP: `10.42.0.${index + 2}`, conditions: [...(pod.status.conditions ?? []), ready] } }, { subresource: 'status' })
      writes += 1
    }
  }
  return writes
}

/** Passes of `obey` until there is nothing left to do; at most `limit`. */
export async function settle(plane: ControlPlane, healthy?: (pod: Pod) => boolean, limit = 50): Promise<void> {
  for (let pass = 0; pass < limit; pass += 1) {
    await plane.clock.advance(100)
    if ((await obey(plane, healthy)) === 0) break
  }
  await plane.clock.advance(100)
}

export async function setImage({ client }: ControlPlane, name: string, image: string): Promise<void> {
  await client.patch(Deployment, inDefault(name), { spec: { template: { spec: { containers: [{ name: 'main', image }] } } } }, { type: 'merge' })
}

/**
 * What each moment ended with: of every object of these kinds its last state, in order of names. Who was first within one
 * moment is nobody's promise.
 */
export function moments(lines: readonly string[], kinds: readonly string[]): string[] {
  const found: string[] = []
  const byTime = Map.groupBy(lines, (line) => line.split(' ', 1)[0] ?? '')
  for (const [time, those] of byTime) {
    const last = new Map<string, string>()
    for (const line of those) {
      const [, sign = '', kind = '', name = '', ...details] = line.split(' ')
      if (!kinds.includes(kind)) continue
      const known = last.get(`${kind} ${name}`)
      last.set(`${kind} ${name}`, `${time} ${known?.split(' ')[1] === '+' && sign === '~' ? '+' : sign} ${kind} ${name} ${details.filter((part) => !/^\(?(as|before\))$/.test(part)).join(' ')}`)
    }
    found.push(...[...last].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line.trimEnd()))
  }
  return found
}

/**
 * Compares with `transcripts/NAME.txt` beside the test. With BERTH_WRITE_TRANSCRIPTS=1 the file is written instead, to be
 * reviewed as a diff.
 */
export function assertTranscript(folder: string, name: string, lines: readonly string[]): void {
  const path = join(folder, 'transcripts', `${name}.txt`)
  const text = `${lines.join('\n')}\n`
  if (process.env['BERTH_WRITE_TRANSCRIPTS'] === '1') writeFileSync(path, text)
  assert.equal(text, readFileSync(path, 'utf8'))
}
