/** The real kernel keeps the contract. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { kernelSuite } from '../contract/kernel.suite.ts'
import type { Kernel } from '../contract/kernel.ts'
import { openKernel } from './kernel.ts'

let kernel: Kernel & AsyncDisposable
before(async () => {
  kernel = await openKernel()
})
after(() => kernel[Symbol.asyncDispose]())

kernelSuite('real kernel', async () => {
  const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'ks-'))
  return {
    kernel,
    tag: `ks${process.pid % 1_000_000}`,
    folder(name) {
      const path = join(root, name)
      mkdirSync(path)
      return path
    },
    async [Symbol.asyncDispose]() {
      rmSync(root, { recursive: true })
    },
  }
})
