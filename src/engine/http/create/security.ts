/** `SecurityOpt`, capabilities, groups and paths of a creation. */
import { Fault } from '#base/fault.ts'
import { capabilitiesOf } from '../../containers/capabilities.ts'
import type { ContainerSecurity, DeviceRule } from '../../contract/containers.ts'
import type { JsonInput } from '../json-input.ts'
import { seccompOf, type SeccompHost } from './seccomp-profile.ts'

export function securityOf(host: JsonInput, machine: SeccompHost): ContainerSecurity {
  const [capAdd, capDrop, privileged] = [host.strings('CapAdd') ?? [], host.strings('CapDrop') ?? [], host.boolean('Privileged') ?? false]
  const capabilities = new Set(capabilitiesOf({ privileged, add: capAdd, drop: capDrop }, new Set()))
  const options = (host.strings('SecurityOpt') ?? []).map((option) => securityOption(option, { capabilities, machine }))
  const masked = host.strings('MaskedPaths')
  const readonlyPaths = host.strings('ReadonlyPaths')
  return {
    privileged,
    capAdd,
    capDrop,
    readonlyRootfs: host.boolean('ReadonlyRootfs') ?? false,
    groupAdd: host.strings('GroupAdd') ?? [],
    ...(masked === undefined ? {} : { maskedPaths: masked }),
    ...(readonlyPaths === undefined ? {} : { readonlyPaths }),
    ...Object.assign({}, ...options),
  }
}

type Option = Pick<ContainerSecurity, 'noNewPrivileges' | 'seccomp' | 'maskedPaths' | 'readonlyPaths' | 'writableCgroups'>

interface OptionContext {
  readonly capabilities: ReadonlySet<string>
  readonly machine: SeccompHost
}

/** As Go's `strconv.ParseBool` reads them. */
const truths: Readonly<Record<string, boolean>> = { 1: true, t: true, T: true, TRUE: true, true: true, True: true, 0: false, f: false, F: false, FALSE: false, false: false, False: false }

function securityOption(option: string, { capabilities, machine }: OptionContext): Option {
  if (option === 'no-new-privileges') return { noNewPrivileges: true }
  if (option === 'writable-cgroups') return { writableCgroups: true }
  // Neither SELinux labels nor AppArmor profiles are applied; what turns them off is thereby fulfilled.
  if (option === 'disable') return {}
  const split = option.includes('=') ? option.indexOf('=') : option.indexOf(':')
  if (split < 0) throw new Fault('invalidArgument', `invalid --security-opt 1: ${JSON.stringify(option)}`)
  const value = option.slice(split + 1)
  const truth = (): boolean => {
    const known = truths[value]
    if (known === undefined) throw new Fault('invalidArgument', `invalid --security-opt 2: ${JSON.stringify(option)}`)
    return known
  }
  switch (option.slice(0, split)) {
    case 'no-new-privileges':
      return { noNewPrivileges: truth() }
    case 'writable-cgroups':
      return { writableCgroups: truth() }
    case 'seccomp':
      return value === 'builtin' || value === '' ? {} : { seccomp: value === 'unconfined' ? 'unconfined' : seccompOf(value, { capabilities, machine }) }
    case 'systempaths':
      return value === 'unconfined' ? { maskedPaths: [], readonlyPaths: [] } : {}
    case 'apparmor':
    case 'label':
      return {}
    default:
      throw new Fault('invalidArgument', `invalid --security-opt 2: ${JSON.stringify(option)}`)
  }
}

/** `c 42:* rwm`, as the devices controller of cgroup v1 reads it. */
export function deviceRuleOf(text: string): DeviceRule {
  const match = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(text)
  if (match === null) throw new Fault('invalidArgument', `invalid device cgroup rule format: '${text}'`)
  const [, type, major = '*', minor = '*', access = ''] = match
  return { type: type === 'c' ? 'c' : type === 'b' ? 'b' : 'a', ...(major === '*' ? {} : { major: Number(major) }), ...(minor === '*' ? {} : { minor: Number(minor) }), access }
}
