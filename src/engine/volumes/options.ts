/** Options of the `local` driver: `type`, `device` and `o` are what mount(8) takes. https://docs.docker.com/reference/cli/docker/volume/create/ */
import { Fault } from '#base/fault.ts'
import type { MountFlag, MountRequest } from '#linux/contract/mounts.ts'

const flags: ReadonlySet<string> = new Set<MountFlag>(['bind', 'rbind', 'ro', 'nosuid', 'nodev', 'noexec', 'noatime', 'private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'])
const ignored: ReadonlySet<string> = new Set(['rw', 'defaults', 'suid', 'dev', 'exec', 'atime', '_netdev'])

function isFlag(word: string): word is MountFlag {
  return flags.has(word)
}

/** What to mount at `target`, or undefined for a plain folder. Fault `invalidArgument` for options that mean nothing. */
export function volumeMount(options: Readonly<Record<string, string>>, target: string): MountRequest | undefined {
  const names = Object.keys(options)
  if (names.length === 0) return undefined
  for (const name of names) {
    if (!['type', 'device', 'o'].includes(name)) throw new Fault('invalidArgument', `invalid option: "${name}": expected type, device or o`)
  }
  const words = (options['o'] ?? '').split(',').filter((word) => word !== '' && !ignored.has(word))
  const mountFlags = words.filter(isFlag)
  const binds = mountFlags.includes('bind') || mountFlags.includes('rbind')
  const type = options['type'] === 'none' || options['type'] === '' ? undefined : options['type']
  const device = options['device']
  if (type === undefined && !binds) throw new Fault('invalidArgument', 'missing required option: "type" (or o=bind with a device)')
  if (device === undefined || device === '') throw new Fault('invalidArgument', 'missing required option: "device"')
  const data = words.filter((word) => !isFlag(word)).join(',')
  return { source: device, target, flags: mountFlags, ...(binds || type === undefined ? {} : { type }), ...(data === '' ? {} : { data }) }
}
