/** `npm run bench -- start`: warm `berth up --detach` until the node is Ready and DNS answers. Limit: 3 s now, 1.5 s the target. */
import { createInstance, enterNamespaces } from '../tools/instance.ts'
import { compare, timed } from './measure.ts'

export async function benchStart(): Promise<void> {
  enterNamespaces()
  using instance = createInstance()
  instance.up()
  const run = async (): Promise<number> => {
    instance.down()
    return await timed(() => instance.up())
  }
  await compare('warm berth up --detach', [{ name: 'berth', run }], { pairs: 10, warmups: 1 })
}
