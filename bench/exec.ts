/** `npm run bench -- exec`: `docker exec C true` in a container that runs. */
import { client, image, withEngines } from './engines.ts'
import { compare, timed } from './measure.ts'

export async function benchExec(): Promise<void> {
  await withEngines(async (engines) => {
    for (const engine of engines) client(engine, ['run', '-d', '--name', 'target', image, 'sleep', '10000'])
    await compare('docker exec C true', engines.map((engine) => ({ name: engine.name, run: () => timed(() => client(engine, ['exec', 'target', 'true'])) })), { pairs: 20, warmups: 2 })
    for (const engine of engines) client(engine, ['rm', '-f', 'target'])
  })
}
