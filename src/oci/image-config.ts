/**
 * Image configurations (OCI image-spec `config.md` plus the members Docker adds: Healthcheck, OnBuild, Shell), spelled as
 * on the wire. The digest of the stored bytes is the Docker image id, so members that Berth does not know are kept.
 */
import { parseJson } from '#base/json.ts'
import { Fault } from '#base/fault.ts'
import { parseDigest } from './digest.ts'
import type { Node } from './json.ts'
import { asObject, countAt, member, optionalBoolean, optionalKeySet, optionalList, optionalString, optionalStringMap, readString, refuse, stringAt } from './json.ts'

export interface ImageConfig {
  readonly architecture: string
  readonly os: string
  readonly variant?: string
  /** RFC 3339. */
  readonly created?: string
  readonly author?: string
  readonly comment?: string
  readonly config?: ContainerDefaults
  /** Digests of the uncompressed layer tars, base first. */
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly string[] }
  readonly history?: readonly ImageHistory[]
}

export interface ImageHistory {
  readonly created?: string
  readonly created_by?: string
  readonly author?: string
  readonly comment?: string
  readonly empty_layer?: boolean
}

/** Of the container that an image was made from, as Docker writes it into the image; no container inherits it. */
export interface FormerContainer {
  readonly Hostname?: string
  readonly Domainname?: string
  readonly AttachStdin?: boolean
  readonly AttachStdout?: boolean
  readonly AttachStderr?: boolean
  readonly Tty?: boolean
  readonly OpenStdin?: boolean
  readonly StdinOnce?: boolean
  readonly Image?: string
}

/** What a container of the image inherits. */
export interface ContainerDefaults extends FormerContainer {
  readonly User?: string
  readonly ExposedPorts?: Readonly<Record<string, object>>
  readonly Env?: readonly string[]
  readonly Entrypoint?: readonly string[] | null
  readonly Cmd?: readonly string[] | null
  readonly Volumes?: Readonly<Record<string, object>> | null
  readonly WorkingDir?: string
  readonly Labels?: Readonly<Record<string, string>> | null
  readonly StopSignal?: string
  readonly Shell?: readonly string[]
  readonly OnBuild?: readonly string[] | null
  readonly Healthcheck?: HealthcheckConfig
  readonly ArgsEscaped?: boolean
}

/** Durations in nanoseconds; 0 or absent: inherit or default. `Test`: `[]` inherit, `['NONE']`, `['CMD', …]`, `['CMD-SHELL', line]`. */
export interface HealthcheckConfig {
  readonly Test?: readonly string[]
  readonly Interval?: number
  readonly Timeout?: number
  readonly StartPeriod?: number
  readonly StartInterval?: number
  readonly Retries?: number
}

export const maxConfigBytes = 8 * 1024 * 1024

/** Parses configuration bytes; refusals are `invalidArgument` and name the member. */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  if (bytes.length > maxConfigBytes) throw new Fault('tooLarge', `image config: ${bytes.length} bytes, at most ${maxConfigBytes} are allowed`)
  const value = parseJson(bytes, 'image config')
  checkImageConfig(value)
  return value
}

function checkImageConfig(value: unknown): asserts value is ImageConfig {
  const node = asObject(value, 'config')
  stringAt(node, 'architecture')
  stringAt(node, 'os')
  for (const key of ['variant', 'created', 'author', 'comment']) optionalString(node, key)
  const rootfs = asObject(member(node, 'rootfs'), 'config.rootfs')
  if (stringAt(rootfs, 'type') !== 'layers') throw refuse('config.rootfs.type', '"layers"', member(rootfs, 'type'))
  const diffIds = optionalList(rootfs, 'diff_ids', parseDigest)
  if (diffIds === undefined) throw refuse('config.rootfs.diff_ids', 'a list', member(rootfs, 'diff_ids'))
  const layered = (optionalList(node, 'history', checkHistory) ?? []).filter((hasLayer) => hasLayer).length
  if (layered > diffIds.length) throw new Fault('invalidArgument', `config.history: ${layered} entries claim a layer, but rootfs.diff_ids lists ${diffIds.length}`)
  const inner = member(node, 'config')
  if (inner !== undefined && inner !== null) checkDefaults(asObject(inner, 'config.config'))
}

function checkHistory(value: unknown, path: string): boolean {
  const node = asObject(value, path)
  for (const key of ['created', 'created_by', 'author', 'comment']) optionalString(node, key)
  return optionalBoolean(node, 'empty_layer') !== true
}

function checkDefaults(node: Node): void {
  for (const key of ['User', 'WorkingDir', 'StopSignal', 'Hostname', 'Domainname', 'Image']) optionalString(node, key)
  for (const key of ['AttachStdin', 'AttachStdout', 'AttachStderr', 'Tty', 'OpenStdin', 'StdinOnce']) optionalBoolean(node, key)
  for (const key of ['Env', 'Entrypoint', 'Cmd', 'Shell', 'OnBuild']) optionalList(node, key, readString)
  for (const key of ['ExposedPorts', 'Volumes']) optionalKeySet(node, key)
  optionalStringMap(node, 'Labels')
  const health = member(node, 'Healthcheck')
  if (health === undefined || health === null) return
  const check = asObject(health, 'config.config.Healthcheck')
  optionalList(check, 'Test', readString)
  for (const key of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval', 'Retries']) if (member(check, key) !== undefined) countAt(check, key)
}
