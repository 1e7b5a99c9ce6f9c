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
  checkOptions(options, names)
  const words = (options['o'] ?? '').split(',').filter((word) => word !== '' && !ignored.has(word))
  const mountFlags = words.filter(isFlag)
  const binds = mountFlags.includes('bind') || mountFlags.includes('rbind')
  const type = options['type'] === 'none' || options['type'] === '' ? undefined : options['type']
  const device = options['device']
  if (options['type'] === undefined && device === undefined) return undefined
  if (device === undefined || device === '') throw new Fault('invalidArgument', 'missing required option: "device"')
  const data = words.filter((word) => !isFlag(word)).join(',')
  return { source: device, target, flags: mountFlags, ...(binds ? {} : { type: type ?? 'none' }), ...(data === '' ? {} : { data }) }
}

/** What each option cannot do without. */
const required: Readonly<Record<string, readonly string[]>> = { device: ['type'], type: ['device'], o: ['device', 'type'] }

function checkOptions(options: Readonly<Record<string, string>>, names: readonly string[]): void {
  for (const name of names) if (!['type', 'device', 'o', 'size'].includes(name)) throw new Fault('invalidArgument', `invalid option: "${name}"`)
  if (options['type'] === 'cifs' && /^(?:\w+:)?\/\/[^/]*:\d+(?:\/|$)/.test(options['device'] ?? '')) throw new Fault('invalidArgument', "port not allowed in CIFS device URL, include 'port' in 'o='")
  if ('size' in options && Number.parseFloat(options['size']) !== 0) throw new Fault('invalidArgument', 'quota size requested but no quota support')
  for (const [name, others] of Object.entries(required)) {
    const missing = names.includes(name) ? others.find((other) => !names.includes(other)) : undefined
    if (missing !== undefined) throw new Fault('invalidArgument', `missing required option: "${missing}"`)
  }
}
