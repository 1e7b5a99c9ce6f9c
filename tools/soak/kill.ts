/**
 * `npm run soak -- kill`: 20 kill -9 of each process, at random moments, while 8 writers create numbered ConfigMaps and one
 * client requests the Service. Afterwards every acknowledged write is readable, no request failed, each process was back
 * within 2 s, and no container was restarted.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { DockerConnection } from '../../src/cli/docker/connection.ts'
import { listAt, numberAt, objectAt, textAt } from '../../src/cli/json.ts'
import { KubeConnection, KubeRefusal } from '../../src/cli/kube/connection.ts'
import { type BerthInstance, createInstance, enterNamespaces } from '../instance.ts'

const repository = resolve(import.meta.dirname, '../..')
const rounds = 20
const writers = 8
const backWithinMs = 2000
const nodePort = 30_080
const configMaps = '/api/v1/namespaces/default/configmaps'

function must(instance: BerthInstance, args: readonly string[], input?: string): string {
  const result = instance.berth(args, input)
  if (result.status !== 0) throw new Error(`berth ${args.join(' ')} ended with ${result.status}:\n${result.stdout}${result.stderr}`)
  return result.stdout
}

function deploy(instance: BerthInstance): void {
  const context = mkdtempSync(join(tmpdir(), 'sk-'))
  cpSync(join(repository, 'examples/shop'), context, { recursive: true })
  writeFileSync(join(context, 'busybox'), readFileSync('/bin/busybox'), { mode: 0o755 })
  must(instance, ['build', '-q', '-t', 'shop:v1', context])
  rmSync(context, { recursive: true })
  const manifest = readFileSync(join(repository, 'examples/shop/app.yaml'), 'utf8').replaceAll('REGISTRY/shop:v1', 'shop:v1')
  must(instance, ['kube', 'apply', '-f', '-'], manifest)
  must(instance, ['kube', 'rollout', 'status', 'deployment/shop', '-n', 'shop', '--timeout', '60s'])
}

function requestService(): Promise<void> {
  return new Promise((fulfil, reject) => {
    const outgoing = get({ host: '127.0.0.1', port: nodePort, path: '/version', agent: false, timeout: 5000 }, (response) => {
      response.resume()
      response.on('end', () => (response.statusCode === 200 ? fulfil() : reject(new Error(`status ${response.statusCode}`))))
      response.on('error', reject)
    })
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 5 s')))
    outgoing.on('error', reject)
  })
}

class Load {
  readonly acknowledged = new Set<string>()
  readonly failures: string[] = []
  requests = 0
  #running = true
  readonly #workers: Promise<void>[] = []

  constructor(kubeconfig: string) {
    for (let writer = 0; writer < writers; writer += 1) this.#workers.push(this.#write(new KubeConnection(kubeconfig), writer))
    this.#workers.push(this.#request())
  }

  async stop(): Promise<void> {
    this.#running = false
    await Promise.all(this.#workers)
  }

  async #write(kube: KubeConnection, writer: number): Promise<void> {
    for (let number = 0; this.#running; number += 1) {
      const name = `w${writer}-${number}`
      try {
        await kube.json({ method: 'POST', path: configMaps, body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { number: String(number) } } })
        this.acknowledged.add(name)
      } catch (error) {
        // Not acknowledged: the server was killed meanwhile. A refusal by a living server is a failure.
        if (error instanceof KubeRefusal && error.status !== 429 && error.status !== 503) this.failures.push(`write ${name}: ${error.message}`)
        await delay(20)
      }
    }
    kube.close()
  }

  async #request(): Promise<void> {
    while (this.#running) {
      this.requests += 1
      try {
        await requestService()
      } catch (error) {
        this.failures.push(`request: ${String(error)}`)
      }
      await delay(5)
    }
  }
}

async function answers(instance: BerthInstance, name: string): Promise<boolean> {
  try {
    if (name === 'server') {
      const kube = new KubeConnection(instance.kubeconfig)
      await kube.text({ method: 'GET', path: '/readyz', accept: '*/*' })
      kube.close()
    } else {
      const engine = new DockerConnection(`${instance.root}/run/docker.sock`)
      await engine.json({ method: 'GET', path: '/containers/json' })
      engine.close()
    }
    return true
  } catch (error) {
    if (error instanceof Error) return false
    throw error
  }
}

/** Kills the process and answers how long it took until it served again. */
async function killAndWait(instance: BerthInstance, name: 'server' | 'node'): Promise<number> {
  const pid = Number(readFileSync(join(instance.root, 'run', `${name}.pid`), 'utf8'))
  process.kill(pid, 'SIGKILL')
  const killed = performance.now()
  while (!(await answers(instance, name))) {
    if (performance.now() - killed > 30_000) throw new Error(`the ${name} process was not back within 30 s`)
    await delay(10)
  }
  return performance.now() - killed
}

async function containerStarts(kube: KubeConnection): Promise<string> {
  const pods = listAt(await kube.json({ method: 'GET', path: '/api/v1/namespaces/shop/pods' }), 'items')
  return pods
    .flatMap((pod) => listAt(objectAt(pod, 'status'), 'containerStatuses').map((status) => `${textAt(objectAt(pod, 'metadata'), 'name')} ${textAt(status, 'containerID')} restarts=${numberAt(status, 'restartCount')}`))
    .sort()
    .join('\n')
}

async function readable(kube: KubeConnection): Promise<Set<string>> {
  const names = new Set<string>()
  let token = ''
  do {
    const page = await kube.json({ method: 'GET', path: configMaps, query: { limit: '500', continue: token || undefined } })
    for (const item of listAt(page, 'items')) names.add(textAt(objectAt(item, 'metadata'), 'name'))
    token = textAt(objectAt(page, 'metadata'), 'continue')
  } while (token !== '')
  return names
}

export async function run(): Promise<void> {
  enterNamespaces()
  using instance = createInstance()
  instance.up()
  deploy(instance)
  const kube = new KubeConnection(instance.kubeconfig)
  const before = await containerStarts(kube)
  const load = new Load(instance.kubeconfig)
  const backMs: Record<'server' | 'node', number[]> = { server: [], node: [] }
  for (let round = 0; round < rounds; round += 1) {
    for (const name of ['server', 'node'] as const) {
      await delay(200 + Math.floor((performance.now() * 7919) % 800))
      backMs[name].push(await killAndWait(instance, name))
    }
  }
  await load.stop()
  const after = await containerStarts(kube)
  const found = await readable(kube)
  const lost = [...load.acknowledged].filter((name) => !found.has(name))
  kube.close()
  const slowest = { server: Math.max(...backMs.server), node: Math.max(...backMs.node) }
  console.log(`${rounds} kills of each process; back after at most ${slowest.server.toFixed(0)} ms (server), ${slowest.node.toFixed(0)} ms (node)`)
  console.log(`${load.acknowledged.size} writes acknowledged, ${lost.length} lost; ${load.requests} requests, ${load.failures.length} failures`)
  const problems = [
    ...lost.slice(0, 5).map((name) => `lost: ${name}`),
    ...load.failures.slice(0, 5),
    ...(before === after ? [] : [`containers changed:\n${before}\n->\n${after}`]),
    ...Object.entries(slowest).filter(([, ms]) => ms > backWithinMs).map(([name, ms]) => `the ${name} process took ${ms.toFixed(0)} ms to come back (limit ${backWithinMs})`),
  ]
  for (const problem of problems) console.error(problem)
  if (problems.length > 0 || load.acknowledged.size === 0 || load.requests === 0) process.exitCode = 1
  else console.log('held: nothing lost, no request failed, no container restarted')
}
