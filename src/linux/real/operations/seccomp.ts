/** libseccomp through FFI (seccomp_init(3) and its relatives), run in a kernel worker. */
import koffi from 'koffi'
import { Fault } from '#base/fault.ts'
import type { SeccompProfile } from '../../contract/seccomp.ts'
import { errnoName, check, libc, O_CLOEXEC } from '../libc.ts'

type Context = { readonly brand: 'scmp_filter_ctx' }

interface Library {
  init(action: number): Context | null
  release(context: Context): void
  setAttribute(context: Context, attribute: number, value: number): number
  architectureOf(name: string): number
  addArchitecture(context: Context, token: number): number
  numberOf(name: string): number
  addRule(context: Context, action: number, syscall: number, count: number, comparisons: Uint8Array): number
  export(context: Context, fd: number): number
}

let loaded: Library | undefined

function library(): Library {
  if (loaded !== undefined) return loaded
  let handle: ReturnType<typeof koffi.load>
  try {
    handle = koffi.load('libseccomp.so.2')
  } catch (error) {
    throw new Fault('unavailable', 'libseccomp.so.2 cannot be loaded: install the package libseccomp2', { cause: error })
  }
  loaded = {
    init: handle.func('void *seccomp_init(uint32_t action)'),
    release: handle.func('void seccomp_release(void *ctx)'),
    setAttribute: handle.func('int seccomp_attr_set(void *ctx, int attr, uint32_t value)'),
    architectureOf: handle.func('uint32_t seccomp_arch_resolve_name(const char *name)'),
    addArchitecture: handle.func('int seccomp_arch_add(void *ctx, uint32_t token)'),
    numberOf: handle.func('int seccomp_syscall_resolve_name(const char *name)'),
    addRule: handle.func('int seccomp_rule_add_array(void *ctx, uint32_t action, int syscall, unsigned int count, uint8_t *cmp)'),
    export: handle.func('int seccomp_export_bpf(void *ctx, int fd)'),
  }
  return loaded
}

const EPERM = 1
const EEXIST = 17
const unknownCall = -1
/** SCMP_FLTATR_CTL_OPTIMIZE with a binary tree: a call costs a dozen comparisons instead of hundreds. */
const optimize = 8
const binaryTree = 2
const comparisonBytes = 24

const comparisons: Readonly<Record<string, number>> = { SCMP_CMP_NE: 1, SCMP_CMP_LT: 2, SCMP_CMP_LE: 3, SCMP_CMP_EQ: 4, SCMP_CMP_GE: 5, SCMP_CMP_GT: 6, SCMP_CMP_MASKED_EQ: 7 }

function actionOf(name: string, errnoRet: number | undefined): number {
  switch (name) {
    case 'SCMP_ACT_KILL':
    case 'SCMP_ACT_KILL_THREAD':
      return 0
    case 'SCMP_ACT_KILL_PROCESS':
      return 0x80000000
    case 'SCMP_ACT_TRAP':
      return 0x00030000
    case 'SCMP_ACT_ERRNO':
      return 0x00050000 | ((errnoRet ?? EPERM) & 0xffff)
    case 'SCMP_ACT_TRACE':
      return 0x7ff00000 | ((errnoRet ?? EPERM) & 0xffff)
    case 'SCMP_ACT_LOG':
      return 0x7ffc0000
    case 'SCMP_ACT_ALLOW':
      return 0x7fff0000
    default:
      throw new Fault('invalidArgument', `seccomp action '${name}' cannot be compiled ahead of time`)
  }
}

export function compileSeccomp(profile: SeccompProfile): Uint8Array {
  const defaultAction = actionOf(profile.defaultAction, profile.defaultErrnoRet)
  const context = library().init(defaultAction)
  if (context === null) throw new Fault('invalidArgument', `seccomp default action '${profile.defaultAction}' was refused`)
  try {
    // An older libseccomp without the tree gives a slower filter, not a different one.
    library().setAttribute(context, optimize, binaryTree)
    for (const name of profile.architectures ?? []) addArchitecture(context, name)
    for (const rule of profile.syscalls ?? []) addRule(context, rule, defaultAction)
    return exported(context)
  } finally {
    library().release(context)
  }
}

function addArchitecture(context: Context, name: string): void {
  const token = library().architectureOf(name.replace(/^SCMP_ARCH_/, '').toLowerCase())
  if (token === 0) throw new Fault('invalidArgument', `seccomp architecture '${name}' is unknown`)
  accept(library().addArchitecture(context, token), `seccomp architecture ${name}`)
}

function accept(result: number, what: string): void {
  if (result < 0 && result !== -EEXIST) throw new Fault('invalidArgument', `${what}: ${errnoName(-result)}`)
}

type Rule = NonNullable<SeccompProfile['syscalls']>[number]
type Argument = NonNullable<Rule['args']>[number]

function addRule(context: Context, rule: Rule, defaultAction: number): void {
  const action = actionOf(rule.action, rule.errnoRet)
  // libseccomp refuses a rule that says what holds anyway.
  if (action === defaultAction) return
  const args = rule.args ?? []
  // Several conditions on one argument are alternatives, each a rule of its own; on different ones they hold together.
  const repeated = new Set(args.map(({ index }) => index)).size < args.length
  const groups = repeated ? args.map((arg) => [arg]) : [args]
  for (const name of rule.names) {
    const number = library().numberOf(name)
    if (number === unknownCall) continue
    for (const group of groups) accept(library().addRule(context, action, number, group.length, comparisonBytesOf(group)), `seccomp rule for ${name}`)
  }
}

/** struct scmp_arg_cmp: argument, operator, two 64-bit values. */
function comparisonBytesOf(args: readonly Argument[]): Buffer {
  const bytes = Buffer.alloc(Math.max(1, args.length) * comparisonBytes)
  for (const [position, { index, op, value, valueTwo }] of args.entries()) {
    const operator = comparisons[op]
    if (operator === undefined) throw new Fault('invalidArgument', `seccomp comparison '${op}' is unknown`)
    const at = position * comparisonBytes
    bytes.writeUInt32LE(index, at)
    bytes.writeUInt32LE(operator, at + 4)
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at + 8)
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(valueTwo ?? 0)), at + 16)
  }
  return bytes
}

const mostBytes = 4096 * 8

/** The kernel takes at most 4,096 instructions, which a pipe holds without a reader. */
function exported(context: Context): Buffer {
  const fds = Buffer.alloc(8)
  check(libc.pipe2(fds, O_CLOEXEC), 'open a pipe')
  const [read, write] = [fds.readInt32LE(0), fds.readInt32LE(4)]
  try {
    const result = library().export(context, write)
    if (result < 0) throw new Fault('invalidArgument', `the seccomp filter cannot be made: ${errnoName(-result)}`)
    const bytes = Buffer.alloc(mostBytes)
    const length = check(libc.read(read, bytes, bytes.length), 'read the seccomp filter')
    return Buffer.from(bytes.subarray(0, length))
  } finally {
    libc.close(read)
    libc.close(write)
  }
}
