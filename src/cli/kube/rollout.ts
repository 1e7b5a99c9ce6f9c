/** `berth kube rollout status|history|undo|restart` for Deployments. */
import { rfc3339Seconds } from '#base/clock.ts'
import { ExitError } from '../exit.ts'
import { listAt, numberAt, objectAt, objectOf, parseJson, textAt } from '../json.ts'
import { renderTable } from '../table.ts'
import { print, type Terminal } from '../terminal.ts'
import type { KubeConnection } from './connection.ts'
import type { Scope } from './objects.ts'
import { discover, parseOne, pathOf, resourceByKind } from './resources.ts'

const revisionAnnotation = 'deployment.kubernetes.io/revision'

interface Rollout {
  readonly path: string
  readonly collection: string
  readonly replicaSets: string
  readonly name: string
}

async function find(kube: KubeConnection, words: readonly string[], scope: Scope): Promise<Rollout> {
  const resources = await discover(kube)
  const { resource, name } = parseOne(resources, words, 'deployment')
  if (resource.kind !== 'Deployment') throw new ExitError(`error: rollout works on deployments, not on ${resource.plural}`)
  const namespace = scope.namespace ?? kube.defaultNamespace
  return {
    path: pathOf(resource, namespace, name),
    collection: pathOf(resource, namespace),
    replicaSets: pathOf(resourceByKind(resources, 'apps/v1', 'ReplicaSet'), namespace),
    name,
  }
}

/** What still has to happen, or undefined when the roll-out is complete. Throws when it has failed. */
function pending(deployment: unknown): string | undefined {
  const name = textAt(objectAt(deployment, 'metadata'), 'name')
  const status = objectAt(deployment, 'status')
  if (numberAt(objectAt(deployment, 'metadata'), 'generation') > numberAt(status, 'observedGeneration')) return 'Waiting for deployment spec update to be observed...'
  const progressing = listAt(status, 'conditions').find((condition) => textAt(condition, 'type') === 'Progressing')
  if (textAt(progressing, 'reason') === 'ProgressDeadlineExceeded') throw new ExitError(`error: deployment "${name}" exceeded its progress deadline`)
  const wanted = numberAt(objectAt(deployment, 'spec'), 'replicas')
  const updated = numberAt(status, 'updatedReplicas')
  const total = numberAt(status, 'replicas')
  const available = numberAt(status, 'availableReplicas')
  const waiting = `Waiting for deployment "${name}" rollout to finish:`
  if (updated < wanted) return `${waiting} ${updated} out of ${wanted} new replicas have been updated...`
  if (total > updated) return `${waiting} ${total - updated} old replicas are pending termination...`
  if (available < updated) return `${waiting} ${available} of ${updated} updated replicas are available...`
  return undefined
}

export async function status(kube: KubeConnection, terminal: Terminal, words: readonly string[], options: Scope & { readonly timeoutMs?: number }): Promise<void> {
  const rollout = await find(kube, words, options)
  const signal = AbortSignal.timeout(options.timeoutMs ?? 2 ** 31 - 1)
  let deployment = await kube.json({ method: 'GET', path: rollout.path })
  let said = ''
  try {
    for (;;) {
      const message = pending(deployment)
      if (message === undefined) return await print(terminal.stdout, `deployment "${rollout.name}" successfully rolled out\n`)
      if (message !== said) await print(terminal.stdout, `${message}\n`)
      said = message
      deployment = await nextVersion(kube, rollout, deployment, signal)
    }
  } catch (error) {
    if (signal.aborted) throw new ExitError('error: timed out waiting for the condition')
    throw error
  }
}

/** Waits for the first change after the given version. */
async function nextVersion(kube: KubeConnection, rollout: Rollout, deployment: unknown, signal: AbortSignal): Promise<unknown> {
  const query = { fieldSelector: `metadata.name=${rollout.name}`, watch: '1', resourceVersion: textAt(objectAt(deployment, 'metadata'), 'resourceVersion') }
  const stream = await kube.stream({ method: 'GET', path: rollout.collection, query, signal })
  let rest = ''
  try {
    for await (const chunk of stream) {
      const lines = (rest + String(chunk)).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const event = parseJson(line)
        if (textAt(event, 'type') === 'MODIFIED') return objectAt(event, 'object')
        if (textAt(event, 'type') === 'DELETED') throw new ExitError(`error: object has been deleted`)
      }
    }
  } finally {
    stream.destroy()
  }
  return kube.json({ method: 'GET', path: rollout.path })
}

/** The Deployment's ReplicaSets, oldest revision first. */
async function revisions(kube: KubeConnection, rollout: Rollout): Promise<readonly { readonly revision: number; readonly replicaSet: unknown }[]> {
  const deployment = await kube.json({ method: 'GET', path: rollout.path })
  const uid = textAt(objectAt(deployment, 'metadata'), 'uid')
  return listAt(await kube.json({ method: 'GET', path: rollout.replicaSets }), 'items')
    .filter((replicaSet) => listAt(objectAt(replicaSet, 'metadata'), 'ownerReferences').some((owner) => textAt(owner, 'uid') === uid))
    .map((replicaSet) => ({ revision: Number(textAt(objectAt(objectAt(replicaSet, 'metadata'), 'annotations'), revisionAnnotation)), replicaSet }))
    .sort((left, right) => left.revision - right.revision)
}

export async function history(kube: KubeConnection, terminal: Terminal, words: readonly string[], scope: Scope): Promise<void> {
  const rollout = await find(kube, words, scope)
  const rows = (await revisions(kube, rollout)).map(({ revision, replicaSet }) => [
    String(revision),
    textAt(objectAt(objectAt(replicaSet, 'metadata'), 'annotations'), 'kubernetes.io/change-cause') || '<none>',
  ])
  await print(terminal.stdout, `deployment.apps/${rollout.name} \n${renderTable([['REVISION', 'CHANGE-CAUSE'], ...rows])}`)
}

export async function undo(kube: KubeConnection, terminal: Terminal, words: readonly string[], options: Scope & { readonly toRevision?: number }): Promise<void> {
  const rollout = await find(kube, words, options)
  const all = await revisions(kube, rollout)
  const target = options.toRevision === undefined ? all.at(-2) : all.find(({ revision }) => revision === options.toRevision)
  if (target === undefined) throw new ExitError(options.toRevision === undefined ? `error: no rollout history found for deployment "${rollout.name}"` : `error: unable to find specified revision ${options.toRevision} in history`)
  const template = objectAt(objectAt(target.replicaSet, 'spec'), 'template')
  const metadata = objectAt(template, 'metadata')
  const { 'pod-template-hash': _hash, ...labels } = objectAt(metadata, 'labels')
  const patch = [{ op: 'replace', path: '/spec/template', value: { ...objectOf(template), metadata: { ...metadata, labels } } }]
  await kube.json({ method: 'PATCH', path: rollout.path, body: patch, contentType: 'application/json-patch+json' })
  await print(terminal.stdout, `deployment.apps/${rollout.name} rolled back\n`)
}

export async function restart(kube: KubeConnection, terminal: Terminal, words: readonly string[], scope: Scope): Promise<void> {
  const rollout = await find(kube, words, scope)
  const annotations = { 'kubectl.kubernetes.io/restartedAt': rfc3339Seconds(terminal.clock.nowMs()) }
  await kube.json({ method: 'PATCH', path: rollout.path, body: { spec: { template: { metadata: { annotations } } } }, contentType: 'application/strategic-merge-patch+json' })
  await print(terminal.stdout, `deployment.apps/${rollout.name} restarted\n`)
}
