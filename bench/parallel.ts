/** `npm run bench -- parallel`: 40 times `docker run --rm IMAGE true`, 8 at a time. */
import { type Engine, image, startClient, withEngines } from './engines.ts'
import { compare, timed } from './measure.ts'

const runs = 40
const atATime = 8

async function runAll(engine: Engine): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < runs) {
      next += 1
      await startClient(engine, ['run', '--rm', image, 'true'])
    }
  }
  await Promise.all(Array.from({ length: atATime }, worker))
}

export async function benchParallel(): Promise<void> {
  await withEngines(async (engines) => {
    await compare(`${runs} × docker run --rm IMAGE true, ${atATime} at a time`, engines.map((engine) => ({ name: engine.name, run: () => timed(() => runAll(engine)) })), { pairs: 10, warmups: 1 })
  })
}
