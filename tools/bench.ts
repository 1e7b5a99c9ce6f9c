/** `npm run bench -- NAME`: figures beside peers from the same run; see docs/STATUS.md for what was measured. */
import { benchBuild } from '../bench/build.ts'
import { benchPods } from '../bench/pods.ts'
import { benchPull } from '../bench/pull.ts'
import { benchRegistry } from '../bench/registry.ts'
import { benchRun } from '../bench/run.ts'
import { benchStart } from '../bench/start.ts'

const benches: Readonly<Record<string, () => Promise<void>>> = { build: benchBuild, pods: benchPods, pull: benchPull, registry: benchRegistry, run: benchRun, start: benchStart }

const [name = ''] = process.argv.slice(2)
const bench = benches[name]
if (bench === undefined) {
  console.error(`npm run bench -- NAME, where NAME is one of: ${Object.keys(benches).join(', ')}`)
  process.exitCode = 1
} else await bench()
