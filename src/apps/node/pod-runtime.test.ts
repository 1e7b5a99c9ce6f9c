/** The engine's pods keep the cluster's contract for them: the suite of `cluster/contract`, on the real kernel. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { present } from '#base/assert.ts'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { podRuntimeSuite } from '#cluster/contract/runtime.suite.ts'
import { type Engine, openEngine } from '#engine/open.ts'
import { type EnginePodRuntime, openPodRuntime } from '#engine/pods/pod-runtime.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'

const name = `berth-ps${process.pid}`
const linkPrefix = `bs${process.pid % 1_000_000}`
const podCidr = '10.112.0.0/24'

podRuntimeSuite('engine', async () => {
  const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'ps-'))
  for (const folder of ['bin', 'etc', 'proc', 'dev', 'sys', 'tmp']) mkdirSync(join(root, 'image', folder), { recursive: true })
  copyFileSync('/bin/busybox', join(root, 'image/bin/busybox'))
  for (const tool of ['sh', 'sleep', 'echo']) symlinkSync('busybox', join(root, 'image/bin', tool))
  const kernel = await openKernel()
  let engine: Engine
  let runtime: EnginePodRuntime
  const open = async (): Promise<EnginePodRuntime> => {
    const common = { clock: systemClock, random: systemRandom, log: silentLogger }
    const paths = { state: join(root, 's'), run: join(root, 'r') }
    engine = await openEngine({ kernel, blobs: await openFileBlobs(join(root, 'blobs')), paths, names: { cgroup: name, table: name, bridge: `${linkPrefix}0` }, networks: { bridgeSubnet: '172.31.9.0/24' }, ...common })
    runtime = await openPodRuntime({ containers: engine.containers, images: engine.images, runtime: engine.runtime, kernel, version: '0', stateDir: paths.state, runDir: paths.run, linkPrefix, table: `${name}-pods`, podCidr, clusterCidr: podCidr, ...common })
    return runtime
  }
  const close = async (): Promise<void> => {
    runtime[Symbol.dispose]()
    await engine[Symbol.asyncDispose]()
  }
  await open()
  const tar = await kernel.processes.start(['tar', '-C', join(root, 'image'), '-c', '.'], { stdio: ['null', 'pipeOut', 'inherit'] })
  await present(engine!, 'the engine').images.importRoot(present(tar.stdio[1], 'the output of tar'), { name: 'busybox:test', defaults: { Env: ['PATH=/bin'] } })
  const sh = (script: string): string[] => ['sh', '-c', script]
  return {
    runtime: runtime!,
    image: 'busybox:test',
    runs: sh('trap "exit 0" TERM; while :; do sleep 0.05; done'),
    stubborn: sh('trap "" TERM; while :; do sleep 0.05; done'),
    listens: async (id) => {
      // Bit 14 of the ignored or the caught signals is SIGTERM (proc(5)).
      const { exitCode } = await runtime!.runCommand(id, sh('until grep -qE "^Sig(Ign|Cgt):.*[4-7c-f][0-9a-f]{3}$" /proc/1/status; do sleep 0.01; done'), { timeoutMs: 10_000 })
      assert.equal(exitCode, 0)
    },
    endsWithSeven: sh('exit 7'),
    missing: ['/no/such/file'],
    speaks: sh('echo out; echo err >&2; exit 3'),
    logRoot: join(root, 'logs'),
    reopened: async () => {
      await close()
      return open()
    },
    async [Symbol.asyncDispose]() {
      await close()
      await kernel.nftables.apply(`delete table ip ${name}-pods`)
      for (const link of await kernel.links.list()) if (link.name.startsWith(linkPrefix)) await kernel.links.deleteLink(link.name)
      await kernel.links.deleteRoute({ destination: podCidr, type: 'unreachable' })
      for (const { target } of (await kernel.mounts.table(root)).toReversed()) await kernel.mounts.unmount(target, { lazy: true })
      await kernel.cgroups.remove(name)
      await kernel[Symbol.asyncDispose]()
      rmSync(root, { recursive: true })
    },
  }
})
