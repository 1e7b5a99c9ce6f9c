/** Compiled filters, judged by a small interpreter of classic BPF (Linux socket filters, kernel `networking/filter.rst`). */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { isFault } from '#base/fault.ts'
import type { Kernel } from '../contract/kernel.ts'
import { openKernel } from './kernel.ts'

let kernel: Kernel & AsyncDisposable
before(async () => {
  kernel = await openKernel()
})
after(() => kernel[Symbol.asyncDispose]())

/** AUDIT_ARCH_* and two call numbers (mkdir, or mkdirat where there is none; personality) of this machine. */
const machine = process.arch === 'x64' ? { arch: 0xc000003e, mkdir: 83, personality: 135, name: 'mkdir' } : { arch: 0xc00000b7, mkdir: 34, personality: 92, name: 'mkdirat' }

interface Call {
  readonly number: number
  readonly arch?: number
  readonly args?: readonly number[]
}

/** What the kernel would answer. */
function run(program: Buffer, { number, arch = machine.arch, args = [] }: Call): number {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(number, 0)
  data.writeUInt32LE(arch, 4)
  for (const [index, value] of args.entries()) data.writeBigUInt64LE(BigInt(value), 16 + index * 8)
  let accumulator = 0
  for (let at = 0; ; at += 1) {
    const code = program.readUInt16LE(at * 8)
    const [ifTrue, ifFalse] = [program.readUInt8(at * 8 + 2), program.readUInt8(at * 8 + 3)]
    const k = program.readUInt32LE(at * 8 + 4)
    const jump = (condition: boolean): number => (condition ? ifTrue : ifFalse)
    switch (code) {
      case 0x20:
        accumulator = data.readUInt32LE(k)
        break
      case 0x54:
        accumulator = (accumulator & k) >>> 0
        break
      case 0x05:
        at += k
        break
      case 0x15:
        at += jump(accumulator === k)
        break
      case 0x25:
        at += jump(accumulator > k)
        break
      case 0x35:
        at += jump(accumulator >= k)
        break
      case 0x45:
        at += jump((accumulator & k) !== 0)
        break
      case 0x06:
        return k
      default:
        throw new Error(`instruction ${code.toString(16)} at ${at}`)
    }
  }
}

const allow = 0x7fff0000
const errno = (number: number): number => 0x00050000 | number

test('a filter allows what is listed, refuses the rest with the wanted error, and looks at arguments', async () => {
  const program = await kernel.seccomp.compile({
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    syscalls: [
      { names: ['read', machine.name, 'no_such_call_at_all'], action: 'SCMP_ACT_ALLOW' },
      { names: ['personality'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: 8, op: 'SCMP_CMP_EQ' }, { index: 0, value: 0xffffffff, op: 'SCMP_CMP_EQ' }] },
    ],
  })
  assert.equal(program.length % 8, 0)
  assert.equal(run(program, { number: machine.mkdir }), allow)
  assert.equal(run(program, { number: 300 }), errno(38))
  assert.equal(run(program, { number: machine.personality, args: [8] }), allow)
  assert.equal(run(program, { number: machine.personality, args: [0xffffffff] }), allow)
  assert.equal(run(program, { number: machine.personality, args: [9] }), errno(38))
  assert.notEqual(run(program, { number: machine.mkdir, arch: 1 }), allow)
})

test('masked comparisons and further architectures', { skip: process.arch !== 'x64' }, async () => {
  const program = await kernel.seccomp.compile({
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    syscalls: [{ names: ['clone'], action: 'SCMP_ACT_ERRNO', errnoRet: 1, args: [{ index: 0, value: 0x7e020000, valueTwo: 0x10000000, op: 'SCMP_CMP_MASKED_EQ' }] }],
  })
  const clone = 56
  assert.equal(run(program, { number: clone, args: [0x10000011] }), errno(1))
  assert.equal(run(program, { number: clone, args: [0x11] }), allow)
  assert.equal(run(program, { number: 120, arch: 0x40000003, args: [0x11] }), allow)
})

test('what cannot be compiled is a fault', async () => {
  await assert.rejects(kernel.seccomp.compile({ defaultAction: 'SCMP_ACT_NOTIFY' }), (error) => isFault(error, 'invalidArgument'))
  await assert.rejects(kernel.seccomp.compile({ defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_NONE'] }), (error) => isFault(error, 'invalidArgument'))
})
