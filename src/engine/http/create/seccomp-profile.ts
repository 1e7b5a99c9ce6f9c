/**
 * Docker's language of seccomp profiles (https://docs.docker.com/engine/security/seccomp/): the OCI profile, with `archMap` for the machine's
 * architecture and rules that hold only with or without certain capabilities, architectures and kernels.
 */
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import type { SeccompSpec } from '../../contract/runtime-spec.ts'
import { JsonInput } from '../json-input.ts'

export interface SeccompHost {
  readonly architecture: 'amd64' | 'arm64'
  /** `6.1.0-18-amd64`. */
  readonly kernelRelease: string
}

interface Circumstances {
  readonly capabilities: ReadonlySet<string>
  readonly machine: SeccompHost
}

const ownArchitecture = { amd64: 'SCMP_ARCH_X86_64', arm64: 'SCMP_ARCH_AARCH64' } as const

export function seccompOf(text: string, circumstances: Circumstances): SeccompSpec | 'unconfined' {
  let profile: JsonInput
  try {
    profile = JsonInput.of(parseJson(text, 'profile'), 'seccomp')
  } catch (error) {
    throw new Fault('invalidArgument', `Decoding seccomp profile failed: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
  const defaultAction = profile.string('defaultAction') ?? ''
  const calls = profile.objects('syscalls')
  // Neither an action nor a call: a profile that confines nothing.
  if (defaultAction === '' && calls.length === 0) return 'unconfined'
  const [errno, flags, listenerPath, listenerMetadata] = [profile.number('defaultErrnoRet'), profile.strings('flags'), profile.string('listenerPath'), profile.string('listenerMetadata')]
  return {
    defaultAction,
    ...(errno === undefined ? {} : { defaultErrnoRet: errno }),
    architectures: architecturesOf(profile, circumstances.machine),
    ...(flags === undefined ? {} : { flags }),
    ...(listenerPath === undefined ? {} : { listenerPath }),
    ...(listenerMetadata === undefined ? {} : { listenerMetadata }),
    syscalls: calls.flatMap((call) => (holds(call, circumstances) ? [ruleOf(call)] : [])),
  }
}

function architecturesOf(profile: JsonInput, { architecture }: SeccompHost): readonly string[] {
  const [plain, map] = [profile.strings('architectures') ?? [], profile.objects('archMap')]
  if (plain.length > 0 && map.length > 0) throw new Fault('invalidArgument', "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'")
  const own = map.find((entry) => entry.string('architecture') === ownArchitecture[architecture])
  return own === undefined ? plain : [ownArchitecture[architecture], ...(own.strings('subArchitectures') ?? [])]
}

type Rule = NonNullable<SeccompSpec['syscalls']>[number]

function ruleOf(call: JsonInput): Rule {
  const [name, names] = [call.string('name'), call.strings('names')]
  if (name && names !== undefined && names.length > 0) throw new Fault('invalidArgument', "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'")
  const errno = call.number('errnoRet')
  return {
    names: name ? [name] : (names ?? []),
    action: call.string('action') ?? '',
    ...(errno === undefined ? {} : { errnoRet: errno }),
    args: call.objects('args').map((arg) => ({ index: arg.number('index') ?? 0, value: arg.number('value') ?? 0, valueTwo: arg.number('valueTwo') ?? 0, op: arg.string('op') ?? 'SCMP_CMP_EQ' })),
  }
}

/** `excludes` speaks against a rule when one of its words is true; `includes` needs one architecture and every capability. */
function holds(call: JsonInput, { capabilities, machine }: Circumstances): boolean {
  const [excludes, includes] = [call.object('excludes'), call.object('includes')]
  const { architecture, kernelRelease } = machine
  const [without, only] = [excludes.strings('arches') ?? [], includes.strings('arches') ?? []]
  if (without.includes(architecture)) return false
  if ((excludes.strings('caps') ?? []).some((name) => capabilities.has(name))) return false
  if (isAtLeast(kernelRelease, excludes.string('minKernel')) === true) return false
  if (only.length > 0 && !only.includes(architecture)) return false
  if (!(includes.strings('caps') ?? []).every((name) => capabilities.has(name))) return false
  return isAtLeast(kernelRelease, includes.string('minKernel')) !== false
}

function isAtLeast(release: string, wanted: string | undefined): boolean | undefined {
  if (wanted === undefined) return undefined
  const parsed = /^(\d+)\.(\d+)$/.exec(wanted)
  if (parsed === null) throw new Fault('invalidArgument', `invalid kernel version: ${wanted}: expected "<kernel>.<major>"`)
  const [kernel = 0, major = 0] = release.split('.').map((part) => Number.parseInt(part, 10))
  return kernel > Number(parsed[1]) || (kernel === Number(parsed[1]) && major >= Number(parsed[2]))
}
