/** When Berth is up: the API serves, the engine and the registry answer, the node is Ready, and cluster DNS resolves. */
import { Resolver } from 'node:dns/promises'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { Fault } from '#base/fault.ts'
import { type Clock, sleep } from '#base/clock.ts'
import { DockerConnection } from '#cli/docker/connection.ts'
import { listAt, objectAt, textAt } from '#cli/json.ts'
import { KubeConnection } from '#cli/kube/connection.ts'
import type { Config } from '../config/config.ts'
import { dnsAddress } from '../config/addresses.ts'

/** One thing that must hold; `check` answers true when it does, false or a throw when it does not yet. */
export interface Condition {
  readonly label: string
  readonly where: string
  readonly check: () => Promise<boolean>
}

export function conditions(config: Config): readonly Condition[] {
  return [
    { label: 'API server', where: `https://127.0.0.1:${config.apiPort}`, check: () => apiServes(config) },
    { label: 'engine', where: `unix://${config.paths.dockerSocket}`, check: () => engineAnswers(config) },
    { label: 'registry', where: `${config.registryAddress}:${config.registryPort}`, check: () => listens(config.registryPort) },
    { label: 'node', where: config.nodeName, check: () => nodeReady(config) },
    { label: 'cluster DNS', where: dnsAddress(config), check: () => dnsAnswers(config) },
  ]
}

async function apiServes(config: Config): Promise<boolean> {
  if (!existsSync(config.paths.kubeconfig)) return false
  const kube = new KubeConnection(config.paths.kubeconfig)
  try {
    await kube.text({ method: 'GET', path: '/readyz', accept: '*/*' })
    return true
  } finally {
    kube.close()
  }
}

async function engineAnswers(config: Config): Promise<boolean> {
  if (!existsSync(config.paths.dockerSocket)) return false
  const engine = new DockerConnection(config.paths.dockerSocket)
  try {
    await engine.json({ method: 'GET', path: '/_ping' })
    return true
  } finally {
    engine.close()
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function nodeReady(config: Config): Promise<boolean> {
  const kube = new KubeConnection(config.paths.kubeconfig)
  try {
    const node = await kube.json({ method: 'GET', path: `/api/v1/nodes/${config.nodeName}` })
    return listAt(objectAt(node, 'status'), 'conditions').some((condition) => textAt(condition, 'type') === 'Ready' && textAt(condition, 'status') === 'True')
  } finally {
    kube.close()
  }
}

async function dnsAnswers(config: Config): Promise<boolean> {
  const resolver = new Resolver({ timeout: 250, tries: 1 })
  resolver.setServers([dnsAddress(config)])
  return (await resolver.resolve4('kubernetes.default.svc.cluster.local')).length > 0
}

/** Waits for each condition in order and reports it once it holds. Throws `timeout` naming the one that never did. */
export async function waitReady(config: Config, clock: Clock, options: { readonly timeoutMs: number; readonly onReady: (condition: Condition, elapsedMs: number) => void; readonly signal: AbortSignal }): Promise<void> {
  const started = clock.monotonicMs()
  for (const condition of conditions(config)) {
    let last = ''
    for (;;) {
      const held = await condition.check().catch((error: unknown) => {
        last = error instanceof Error ? error.message : String(error)
        return false
      })
      if (held) break
      if (clock.monotonicMs() - started > options.timeoutMs) throw new Fault('timeout', `${condition.label} (${condition.where}) did not become ready within ${options.timeoutMs / 1000} s${last === '' ? '' : `: ${last}`}`)
      await sleep(clock, 10, options.signal)
    }
    options.onReady(condition, clock.monotonicMs() - started)
  }
}
