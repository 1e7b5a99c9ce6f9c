/**
 * `npm run tour`: the whole story on the running Berth, from a Dockerfile to a self-healing service. Prints each step with
 * its time, and ends with an error as soon as something does not hold. Cleans up what it made.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { resolveConfig } from '../src/apps/config/config.ts'

const repository = resolve(import.meta.dirname, '..')
const { config } = resolveConfig({}, process.env)
const registry = `${config.registryAddress}:${config.registryPort}`
const nodePort = 30_080
const deadlineMs = 60_000

interface Outcome {
  readonly exitCode: number
  readonly output: string
}

function berth(args: readonly string[], input?: string): Promise<Outcome> {
  return new Promise((fulfil, reject) => {
    const child = spawn(join(repository, 'bin/berth'), args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk) => (output += String(chunk)))
    child.stderr.on('data', (chunk) => (output += String(chunk)))
    child.on('error', reject)
    child.on('close', (code) => fulfil({ exitCode: code ?? 1, output }))
    child.stdin.end(input)
  })
}

/** Runs a command that has to succeed, and answers its output. */
async function must(args: readonly string[], input?: string): Promise<string> {
  const { exitCode, output } = await berth(args, input)
  if (exitCode !== 0) throw new Error(`berth ${args.join(' ')} ended with ${exitCode}:\n${output}`)
  return output
}

const kube = (...words: string[]): Promise<string> => must(['kube', ...words])

interface PodJson {
  readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string }
  readonly status: { readonly phase: string; readonly conditions?: readonly { readonly type: string; readonly status: string }[]; readonly containerStatuses?: readonly { readonly restartCount: number; readonly containerID: string }[] }
}

async function pods(): Promise<readonly PodJson[]> {
  const list: { items: PodJson[] } = JSON.parse(await kube('get', 'pods', '-n', 'shop', '-l', 'app=shop', '-o', 'json'))
  return list.items
}

const isReady = (pod: PodJson): boolean => pod.metadata.deletionTimestamp === undefined && pod.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true

/** Asks until `check` answers something, or fails loudly when the deadline passes. */
async function until<T>(what: string, check: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + deadlineMs
  let last: string | undefined
  while (performance.now() < deadline) {
    try {
      const found = await check()
      if (found !== undefined) return found
    } catch (error) {
      last = error instanceof Error ? error.message : String(error)
    }
    await delay(50)
  }
  throw new Error(`${what}: not within ${deadlineMs / 1000} s${last === undefined ? '' : ` (${last})`}`)
}

function request(path: string): Promise<string> {
  return new Promise((fulfil, reject) => {
    const outgoing = get({ host: '127.0.0.1', port: nodePort, path, agent: false, timeout: 5000 }, (response) => {
      let body = ''
      response.on('data', (chunk) => (body += String(chunk)))
      response.on('error', reject)
      response.on('end', () => (response.statusCode === 200 ? fulfil(body.trim()) : reject(new Error(`status ${response.statusCode}`))))
    })
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 5 s')))
    outgoing.on('error', reject)
  })
}

/** Requests the service all the time until stopped; answers how many there were, which versions answered, and every failure. */
function keepRequesting(): { stop: () => Promise<{ count: number; versions: Set<string>; failures: string[] }> } {
  const versions = new Set<string>()
  const failures: string[] = []
  let count = 0
  let running = true
  const worker = async (): Promise<void> => {
    while (running) {
      count += 1
      try {
        versions.add(await request('/version'))
      } catch (error) {
        failures.push(String(error))
      }
      await delay(5)
    }
  }
  const workers = [worker(), worker()]
  return {
    async stop() {
      running = false
      await Promise.all(workers)
      return { count, versions, failures }
    },
  }
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(what)
}

let stepNumber = 0
async function step(title: string, work: () => Promise<string>): Promise<void> {
  stepNumber += 1
  const started = performance.now()
  const remark = await work()
  const seconds = ((performance.now() - started) / 1000).toFixed(2)
  console.log(`${String(stepNumber).padStart(2)}. ${title.padEnd(62)} ${seconds.padStart(6)} s  ${remark}`)
}

/** What the content store holds, in bytes. */
function blobBytes(): number {
  const root = join(config.paths.state, 'blobs')
  return readdirSync(root, { recursive: true, withFileTypes: true }).reduce((sum, entry) => (entry.isFile() ? sum + statSync(join(entry.parentPath, entry.name)).size : sum), 0)
}

async function buildVersion(context: string, version: string): Promise<void> {
  await must(['build', '-q', '-t', `${registry}/shop:${version}`, '--build-arg', `VERSION=${version}`, context])
}

async function setImage(version: string): Promise<void> {
  const manifest = readFileSync(join(repository, 'examples/shop/app.yaml'), 'utf8').replaceAll('REGISTRY/shop:v1', `${registry}/shop:${version}`)
  await must(['kube', 'apply', '-f', '-'], manifest)
}

async function tour(context: string): Promise<void> {
  await step('build v1 from examples/shop/Dockerfile', async () => {
    await buildVersion(context, 'v1')
    return ''
  })
  await step('push it to the embedded registry', async () => {
    const before = blobBytes()
    await must(['push', `${registry}/shop:v1`])
    const added = blobBytes() - before
    // Only the manifest is new: the layers are there already, and are linked.
    expect(added < 16_384, `the push stored ${added} bytes: layers were copied`)
    return `${added} bytes stored, no layer copied`
  })
  await step('apply Deployment (3 replicas), Service and Secret; all pods Ready', async () => {
    await setImage('v1')
    await kube('rollout', 'status', 'deployment/shop', '-n', 'shop', '--timeout', '60s')
    const ready = (await pods()).filter(isReady)
    expect(ready.length === 3, `expected 3 ready pods, found ${ready.length}`)
    return '3 pods'
  })
  await step('reach it by DNS name from a pod', async () => {
    const [pod] = await pods()
    const answer = await kube('exec', pod?.metadata.name ?? '', '-n', 'shop', '--', 'wget', '-q', '-O', '-', 'http://shop.shop.svc.cluster.local/version')
    expect(answer.trim() === 'hello from v1', `by DNS name: ${answer}`)
    return answer.trim()
  })
  await step(`reach it by NodePort ${nodePort} from the host`, async () => {
    const answer = await until('the NodePort', () => request('/version'))
    expect(answer === 'hello from v1', `by NodePort: ${answer}`)
    return answer
  })
  await step('kill a container and watch it heal', async () => {
    const [victim] = await pods()
    const uid = victim?.metadata.uid
    const before = victim?.status.containerStatuses?.[0]?.restartCount ?? 0
    await kube('exec', victim?.metadata.name ?? '', '-n', 'shop', '--', 'sh', '-c', 'kill -9 $(pidof httpd)')
    await until('the killed container to come back', async () => {
      const now = (await pods()).find((pod) => pod.metadata.uid === uid)
      const restarts = now?.status.containerStatuses?.[0]?.restartCount ?? 0
      return now !== undefined && restarts > before && isReady(now) ? now : undefined
    })
    return 'same pod, container restarted, Ready again'
  })
  await step('roll out v2 under continuous requests', async () => {
    await buildVersion(context, 'v2')
    await must(['push', `${registry}/shop:v2`])
    const requests = keepRequesting()
    await setImage('v2')
    await kube('rollout', 'status', 'deployment/shop', '-n', 'shop', '--timeout', '60s')
    await until('only v2 to answer', async () => ((await request('/version')) === 'hello from v2' ? true : undefined))
    const { count, versions, failures } = await requests.stop()
    expect(failures.length === 0, `${failures.length} of ${count} requests failed: ${failures.slice(0, 3).join('; ')}`)
    expect(versions.has('hello from v2'), `v2 never answered: ${[...versions].join(', ')}`)
    return `${count} requests, none failed`
  })
  await step('roll out a broken v3 that never becomes ready: v2 serves on', async () => {
    await buildVersion(context, 'v3')
    await must(['push', `${registry}/shop:v3`])
    const requests = keepRequesting()
    await setImage('v3')
    await until('a v3 pod that runs but is not ready', async () => {
      const all = await pods()
      return all.filter(isReady).length >= 3 && all.some((pod) => pod.status.phase === 'Running' && !isReady(pod) && pod.metadata.deletionTimestamp === undefined) ? true : undefined
    })
    const stuck = await berth(['kube', 'rollout', 'status', 'deployment/shop', '-n', 'shop', '--timeout', '2s'])
    expect(stuck.exitCode !== 0, 'the broken roll-out claims to be complete')
    const { count, versions, failures } = await requests.stop()
    expect(failures.length === 0, `${failures.length} of ${count} requests failed: ${failures.slice(0, 3).join('; ')}`)
    expect([...versions].every((version) => version === 'hello from v2'), `others than v2 answered: ${[...versions].join(', ')}`)
    return `${count} requests, none failed`
  })
  await step('undo it', async () => {
    await kube('rollout', 'undo', 'deployment/shop', '-n', 'shop')
    await kube('rollout', 'status', 'deployment/shop', '-n', 'shop', '--timeout', '60s')
    const image = JSON.parse(await kube('get', 'deployment/shop', '-n', 'shop', '-o', 'json'))
    expect(JSON.stringify(image).includes('/shop:v2"'), 'the Deployment is not back at v2')
    return 'back at v2'
  })
  await step('change the Secret and see it in the running pods', async () => {
    const readyUids = async (): Promise<string> => (await pods()).filter(isReady).map((pod) => pod.metadata.uid).sort().join()
    const uids = await readyUids()
    expect((await request('/cgi-bin/greeting')) === 'good morning', 'the Secret is not mounted')
    await must(['kube', 'apply', '-f', '-'], 'apiVersion: v1\nkind: Secret\nmetadata: {name: shop, namespace: shop}\nstringData: {greeting: good evening}\n')
    await until('the new Secret in the pods', async () => ((await request('/cgi-bin/greeting')) === 'good evening' ? true : undefined))
    expect((await readyUids()) === uids, 'pods were replaced')
    return 'no rebuild, no restart'
  })
}

const workspace = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'tour-'))
const started = performance.now()
let failure: Error | undefined
try {
  const context = join(workspace, 'shop')
  cpSync(join(repository, 'examples/shop'), context, { recursive: true })
  const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((path) => {
    try {
      writeFileSync(join(context, 'busybox'), readFileSync(path), { mode: 0o755 })
      return true
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
      throw error
    }
  })
  if (busybox === undefined) throw new Error('no busybox on this machine: apt-get install busybox-static')
  await must(['status']).catch((error: unknown) => {
    throw new Error(`Berth does not run: start it with npm start -- --detach\n${String(error)}`)
  })
  console.log('The Berth tour: from a Dockerfile to a self-healing service')
  await tour(context)
} catch (error) {
  failure = error instanceof Error ? error : new Error(String(error))
} finally {
  await berth(['kube', 'delete', 'namespace', 'shop', '--ignore-not-found'])
  for (const version of ['v1', 'v2', 'v3']) await berth(['rmi', '-f', `${registry}/shop:${version}`])
  rmSync(workspace, { recursive: true })
}
if (failure !== undefined) {
  console.error(`\nThe tour failed: ${failure.message}`)
  process.exitCode = 1
} else console.log(`All of it held, in ${((performance.now() - started) / 1000).toFixed(1)} s.`)
