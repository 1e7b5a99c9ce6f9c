/**
 * `npm run bench -- run`: `docker run --rm IMAGE true` on a bridge network, the stock client against Berth, dockerd and podman, and the
 * least there is: conmon and crun by hand, without an engine, a network or an image.
 */
import { bareContender } from './bare.ts'
import { client, image, withEngines } from './engines.ts'
import { compare, timed } from './measure.ts'

export async function benchRun(): Promise<void> {
  await withEngines(async (engines, folder) => {
    const contenders = engines.map((engine) => ({ name: engine.name, run: () => timed(() => client(engine, ['run', '--rm', image, 'true'])) }))
    await compare('docker run --rm IMAGE true, bridge network', [...contenders, ...bareContender(folder)], { pairs: 15, warmups: 2 })
  })
}
