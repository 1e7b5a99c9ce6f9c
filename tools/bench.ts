/** `npm run bench -- NAME…`: figures beside peers from the same run; see docs/STATUS.md for what was measured. */
import { benchBuild } from '../bench/build.ts'
import { benchExec } from '../bench/exec.ts'
import { benchMemory } from '../bench/memory.ts'
import { benchParallel } from '../bench/parallel.ts'
import { benchPods } from '../bench/pods.ts'
import { benchPull } from '../bench/pull.ts'
import { benchPush } from '../bench/push.ts'
import { benchRegistry } from '../bench/registry.ts'
import { benchRun } from '../bench/run.ts'
import { benchStart } from '../bench/start.ts'

const benches: Readonly<Record<string, () => Promise<void>>> = {
  build: benchBuild, exec: benchExec, memory: benchMemory, parallel: benchParallel, pods: benchPods, pull: benchPull, push: benchPush, registry: benchRegistry, run: benchRun, start: benchStart,
}

const names = process.argv.slice(2)
const unknown = names.filter((name) => benches[name] === undefined)
if (names.length === 0 || unknown.length > 0) {
  console.error(`npm run bench -- NAME…, where each NAME is one of: ${Object.keys(benches).join(', ')}${unknown.length === 0 ? '' : `; not ${unknown.join(', ')}`}`)
  process.exitCode = 1
} else for (const name of names) await benches[name]?.()
