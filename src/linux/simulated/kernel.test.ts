/** The simulated kernel keeps the contract. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import { kernelSuite } from '../contract/kernel.suite.ts'
import { simulatedKernel } from './kernel.ts'

kernelSuite('simulated kernel', async () => {
  const kernel = simulatedKernel()
  return {
    kernel,
    tag: 'sim',
    folder(name) {
      kernel.paths.add(`/t/${name}`)
      return `/t/${name}`
    },
    async [Symbol.asyncDispose]() {
      kernel.paths.clear()
    },
  }
})

test('simulated kernel: scripts and routes are remembered per namespace; a group with processes stays', async () => {
  const kernel = simulatedKernel()
  kernel.paths.add('/t')
  await kernel.namespaces.create({ pinAt: { net: '/t/net' } })
  await kernel.nftables.apply('add table ip x', { netns: '/t/net' })
  await kernel.links.route({ destination: '10.0.0.0/8', type: 'unreachable' })
  assert.deepEqual([kernel.scripts.get('/t/net'), kernel.routes.get('')?.length], [['add table ip x'], 1])
  await kernel.cgroups.create('a')
  await kernel.cgroups.add('a', 7)
  await assert.rejects(kernel.cgroups.remove('a'), (error) => isFault(error, 'conflict'))
  await kernel.cgroups.kill('a')
  await kernel.cgroups.remove('a')
})
