/** Mounts of a creation: `HostConfig.Binds`, `Mounts`, `Tmpfs` and `Config.Volumes`, refused in Docker's words where they mean nothing. */
import { posix } from 'node:path'
import { Fault } from '#base/fault.ts'
import type { ContainerMount, ReadonlyDepth } from '../../contract/containers.ts'
import type { JsonInput } from '../json-input.ts'

const propagations = ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']
/** Words of a `-v` mode; of each group one at most. */
const modeGroups: readonly (readonly string[])[] = [['ro', 'rw'], ['z', 'Z'], propagations, ['nocopy'], ['consistent', 'cached', 'delegated']]

function refuse(message: string): never {
  throw new Fault('invalidArgument', message)
}

export function isMountMode(mode: string): boolean {
  if (mode === '') return true
  const words = mode.split(',')
  return words.every((word) => modeGroups.some((group) => group.includes(word))) && modeGroups.every((group) => words.filter((word) => group.includes(word)).length <= 1)
}

/** A mode that `--volumes-from` takes: what is inherited cannot be spread or copied otherwise. */
export function isInheritedMode(mode: string): boolean {
  return isMountMode(mode) && !mode.split(',').some((word) => word === 'nocopy' || propagations.includes(word))
}

/** `source:target[:options]`; a source that is no path is a volume's name. `depth`: what `ro` covers. */
export function mountOfBind(bind: string, options: { readonly volumeDriver?: string; readonly depth?: ReadonlyDepth } = {}): ContainerMount {
  const invalid = `invalid volume specification: '${bind}'`
  const parts = bind.split(':')
  const [source = '', target, mode = ''] = parts
  if (parts.length > 3 || source === '' || (target !== undefined && parts.length === 2 && isMountMode(target))) return refuse(invalid)
  if (!isMountMode(mode)) return refuse(`invalid mode: ${mode}`)
  const words = mode === '' ? [] : mode.split(',')
  const readonly = words.includes('ro')
  if (target === undefined) {
    checkTarget(source, 'volume', (problem) => refuse(`${invalid}: ${problem}`))
    return { type: 'volume', target: posix.normalize(trimmed(source)), mode: '', ...(options.volumeDriver ? { driver: options.volumeDriver } : {}) }
  }
  const type = source.startsWith('/') ? 'bind' : 'volume'
  checkTarget(target, type, (problem) => refuse(`${invalid}: ${problem}`))
  const common = { target: trimmed(posix.normalize(target)), readonly, readonlyDepth: options.depth ?? 'recursive', mode } as const
  if (type === 'bind') return { type, source: trimmed(posix.normalize(source)), ...common, createSource: true, propagation: words.find((word) => propagations.includes(word)) ?? 'rprivate' }
  if (words.some((word) => propagations.includes(word))) return refuse(`${invalid}: invalid mount config for type "volume": field BindOptions must not be specified`)
  return { type, name: source, ...common, mode: mode || 'z', noCopy: words.includes('nocopy'), ...(options.volumeDriver ? { driver: options.volumeDriver } : {}) }
}

function checkTarget(target: string, type: string, refuseWith: (problem: string) => never): void {
  if (target === '') refuseWith(`invalid mount config for type "${type}": field Target must not be empty`)
  if (posix.normalize(target).replace(/\/+$/, '') === '') refuseWith(`invalid mount config for type "${type}": invalid specification: destination can't be '/'`)
  if (!target.startsWith('/')) refuseWith(`invalid mount config for type "${type}": invalid mount path: '${target}' mount path must be absolute`)
}

function trimmed(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') || '/' : path
}

export function mountsOf(config: JsonInput, host: JsonInput, minorVersion: number): ContainerMount[] {
  const volumeDriver = host.string('VolumeDriver') ?? ''
  const depth: ReadonlyDepth = minorVersion < 44 ? 'top' : 'recursive'
  const mounts = (host.strings('Binds') ?? []).map((bind) => mountOfBind(bind, { volumeDriver, depth }))
  for (const mount of host.objects('Mounts')) mounts.push(mountOf(mount, minorVersion))
  const tmpfs = host.stringMap('Tmpfs') ?? {}
  for (const [target, options] of Object.entries(tmpfs)) {
    if (!target.startsWith('/')) refuse(`invalid mount path: '${target}' mount path must be absolute`)
    if (posix.normalize(target) === '/') refuse("invalid specification: destination can't be '/'")
    mounts.push({ type: 'tmpfs', target, options: options === '' ? [] : options.split(',') })
  }
  const taken = new Set(mounts.map(({ target }) => target))
  for (const target of config.object('Volumes').keys()) {
    const mount = mountOfBind(target, { volumeDriver, depth })
    if (!taken.has(mount.target)) mounts.push(mount)
  }
  return mounts
}

/** Options that belong to one type. */
const ownOptions: Readonly<Record<string, string>> = { BindOptions: 'bind', VolumeOptions: 'volume', ImageOptions: 'image', TmpfsOptions: 'tmpfs', ClusterOptions: 'cluster' }

function mountOf(input: JsonInput, minorVersion: number): ContainerMount {
  const type = input.string('Type') ?? ''
  const target = input.string('Target') ?? ''
  const source = input.string('Source') ?? ''
  const readonly = input.boolean('ReadOnly') ?? false
  const invalid = (problem: string): never => refuse(`invalid mount config for type "${type}": ${problem}`)
  for (const [field, owner] of Object.entries(ownOptions)) {
    if (!input.has(field) || owner === type || (minorVersion < 42 && (field === 'VolumeOptions' || field === 'TmpfsOptions'))) continue
    if (minorVersion >= 42 && ['BindOptions', 'VolumeOptions', 'TmpfsOptions'].includes(field)) refuse(`${field} must not be specified on mount type "${type}"`)
    invalid(`field ${field} must not be specified`)
  }
  if (type === 'image' && minorVersion < 48) refuse('Mount type "Image" needs API v1.48 or newer')
  checkTarget(target, type, refuse)
  const common = { target: trimmed(posix.normalize(target)), readonly }
  switch (type) {
    case 'bind':
      return bindOf(input, { common, source, minorVersion, invalid })
    case 'volume':
      return volumeOf(input, { common, source, minorVersion, invalid })
    case 'tmpfs':
      if (source !== '') invalid('field Source must not be specified')
      return { type, target: common.target, options: [...(readonly ? ['ro'] : []), ...tmpfsOptionsOf(input.object('TmpfsOptions'), { minorVersion, invalid })] }
    case 'image':
      return imageOf(input, { common, source, minorVersion, invalid })
    default:
      return invalid('mount type unknown')
  }
}

interface MountParts {
  readonly common: { readonly target: string; readonly readonly: boolean }
  readonly source: string
  readonly minorVersion: number
  readonly invalid: (problem: string) => never
}

function bindOf(input: JsonInput, { common, source, minorVersion, invalid }: MountParts): ContainerMount {
  const options = input.object('BindOptions')
  const propagation = options.string('Propagation') || 'rprivate'
  if (source === '') invalid('field Source must not be empty')
  if (!propagations.includes(propagation)) invalid(`invalid propagation mode: ${propagation}`)
  if (!source.startsWith('/')) invalid(`invalid mount path: '${source}' mount path must be absolute`)
  return {
    type: 'bind', source: trimmed(posix.normalize(source)), ...common, propagation,
    nonRecursive: minorVersion >= 40 && (options.boolean('NonRecursive') ?? false),
    createSource: minorVersion >= 42 && (options.boolean('CreateMountpoint') ?? false),
    readonlyDepth: depthOf(options, { minorVersion }),
  }
}

function depthOf(options: JsonInput, { minorVersion }: { readonly minorVersion: number }): ReadonlyDepth {
  const strict = options.boolean('ReadOnlyForceRecursive') ?? false
  const top = options.boolean('ReadOnlyNonRecursive') ?? false
  if (minorVersion < 44) {
    if (strict) refuse('BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer')
    return 'top'
  }
  if (strict && top) refuse('mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive')
  return strict ? 'strict' : top ? 'top' : 'recursive'
}

function imageOf(input: JsonInput, { common, source, invalid }: MountParts): ContainerMount {
  const subpath = input.object('ImageOptions').string('Subpath') ?? ''
  if (source === '') invalid('field Source must not be empty')
  checkSubpath(subpath, invalid)
  return { type: 'image', source, target: common.target, ...(subpath === '' ? {} : { subpath }) }
}

function checkSubpath(subpath: string, invalid: MountParts['invalid']): void {
  if (subpath.startsWith('/') || posix.normalize(subpath).startsWith('..')) invalid('subpath must be a relative path within the volume')
}

function volumeOf(input: JsonInput, { common, source, minorVersion, invalid }: MountParts): ContainerMount {
  const options = input.object('VolumeOptions')
  const driver = options.object('DriverConfig')
  const subpath = options.string('Subpath') ?? ''
  if (subpath !== '') {
    if (minorVersion < 45) refuse('VolumeOptions.Subpath needs API v1.45 or newer')
    if (source === '') invalid('must not set Subpath when using anonymous volumes')
    checkSubpath(subpath, invalid)
  }
  return {
    type: 'volume', ...(source === '' ? {} : { name: source }), ...common, readonlyDepth: minorVersion < 44 ? 'top' : 'recursive', noCopy: options.boolean('NoCopy') ?? false, labels: options.stringMap('Labels') ?? {},
    driver: driver.string('Name') || 'local', driverOptions: driver.stringMap('Options') ?? {}, ...(subpath === '' ? {} : { subpath }),
  }
}

function tmpfsOptionsOf(options: JsonInput, { minorVersion, invalid }: { readonly minorVersion: number; readonly invalid: (problem: string) => never }): string[] {
  const size = options.number('SizeBytes')
  const mode = options.number('Mode')
  const words = [...(mode ? [`mode=${mode.toString(8)}`] : []), ...(size ? [`size=${size}`] : [])]
  if (minorVersion < 46) return words
  for (const option of options.array('Options') ?? []) {
    if (!Array.isArray(option) || option.length < 1 || option.length > 2) return invalid('invalid option array length')
    const [name, value] = option.map(String)
    if (name !== 'exec' && name !== 'noexec') return invalid(`invalid option: ${name}`)
    words.push(value === undefined ? name : `${name}=${value}`)
  }
  return words
}
