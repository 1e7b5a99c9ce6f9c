/**
 * Image configurations (OCI image-spec `config.md` plus the members Docker adds: Healthcheck, OnBuild, Shell). The
 * digest of the stored bytes is the Docker image id, so a configuration is never rewritten: this is a view of it.
 */
import { parseJson } from '#base/http.ts'
import { Fault } from '#base/fault.ts'
import type { Digest } from './digest.ts'
import { parseDigest } from './digest.ts'
import type { Node } from './json.ts'
import { asObject, countAt, member, optionalBoolean, optionalKeySet, optionalList, optionalString, optionalStringMap, readString, stringAt } from './json.ts'

export interface HealthcheckConfig {
  /** `['NONE']`, `['CMD', …]` or `['CMD-SHELL', line]`. */
  readonly test: readonly string[]
  /** Nanoseconds; 0 means the engine's default. */
  readonly intervalNs: number
  readonly timeoutNs: number
  readonly startPeriodNs: number
  readonly startIntervalNs: number
  readonly retries: number
}

/** What a container of the image runs with unless its creator says otherwise. */
export interface ExecConfig {
  readonly user: string
  readonly env: readonly string[]
  readonly entrypoint: readonly string[] | null
  readonly cmd: readonly string[] | null
  readonly workingDir: string
  /** `80/tcp`, … */
  readonly exposedPorts: readonly string[]
  /** Absolute paths. */
  readonly volumes: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly stopSignal?: string
  readonly stopTimeoutSeconds?: number
  readonly healthcheck?: HealthcheckConfig
  readonly shell?: readonly string[]
  readonly onBuild?: readonly string[]
}

export interface HistoryEntry {
  /** RFC 3339. */
  readonly created?: string
  readonly createdBy?: string
  readonly author?: string
  readonly comment?: string
  readonly emptyLayer: boolean
}

export interface ImageConfig {
  readonly architecture: string
  readonly os: string
  readonly variant?: string
  /** RFC 3339, as written. */
  readonly created?: string
  readonly author?: string
  readonly config: ExecConfig
  /** Digests of the uncompressed layer tars, base first. */
  readonly diffIds: readonly Digest[]
  readonly history: readonly HistoryEntry[]
}

export const maxConfigBytes = 8 * 1024 * 1024

export const emptyExecConfig: ExecConfig = {
  user: '', env: [], entrypoint: null, cmd: null, workingDir: '', exposedPorts: [], volumes: [], labels: {},
}

/** Parses configuration bytes; refusals are `invalidArgument` and name the field. */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  if (bytes.length > maxConfigBytes) throw new Fault('tooLarge', `image config: ${bytes.length} bytes, at most ${maxConfigBytes} are allowed`)
  const node = asObject(parseJson(bytes, 'image config'), 'config')
  const rootfs = asObject(member(node, 'rootfs'), 'config.rootfs')
  const diffIds = optionalList(rootfs, 'diff_ids', parseDigest) ?? []
  const history = optionalList(node, 'history', readHistory) ?? []
  const layered = history.filter((entry) => !entry.emptyLayer).length
  if (history.length > 0 && layered > diffIds.length) {
    throw new Fault('invalidArgument', `config.history: ${layered} entries claim a layer, but rootfs.diff_ids lists ${diffIds.length}`)
  }
  const inner = member(node, 'config')
  return {
    architecture: stringAt(node, 'architecture'),
    os: stringAt(node, 'os'),
    ...only('variant', optionalString(node, 'variant')),
    ...only('created', optionalString(node, 'created')),
    ...only('author', optionalString(node, 'author')),
    config: inner === undefined || inner === null ? emptyExecConfig : readExecConfig(asObject(inner, 'config.config')),
    diffIds,
    history,
  }
}

function only<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  const result: { [P in K]?: V } = {}
  if (value !== undefined) result[key] = value
  return result
}

function readExecConfig(node: Node): ExecConfig {
  const healthcheck = member(node, 'Healthcheck')
  return {
    user: optionalString(node, 'User') ?? '',
    env: optionalList(node, 'Env', readString) ?? [],
    entrypoint: optionalList(node, 'Entrypoint', readString) ?? null,
    cmd: optionalList(node, 'Cmd', readString) ?? null,
    workingDir: optionalString(node, 'WorkingDir') ?? '',
    exposedPorts: optionalKeySet(node, 'ExposedPorts') ?? [],
    volumes: optionalKeySet(node, 'Volumes') ?? [],
    labels: optionalStringMap(node, 'Labels') ?? {},
    ...only('stopSignal', optionalString(node, 'StopSignal')),
    ...only('stopTimeoutSeconds', optionalCount(node, 'StopTimeout')),
    ...(healthcheck === undefined || healthcheck === null ? {} : { healthcheck: readHealthcheck(asObject(healthcheck, 'config.config.Healthcheck')) }),
    ...only('shell', optionalList(node, 'Shell', readString)),
    ...only('onBuild', optionalList(node, 'OnBuild', readString)),
  }
}

function readHealthcheck(node: Node): HealthcheckConfig {
  return {
    test: optionalList(node, 'Test', readString) ?? [],
    intervalNs: optionalCount(node, 'Interval') ?? 0,
    timeoutNs: optionalCount(node, 'Timeout') ?? 0,
    startPeriodNs: optionalCount(node, 'StartPeriod') ?? 0,
    startIntervalNs: optionalCount(node, 'StartInterval') ?? 0,
    retries: optionalCount(node, 'Retries') ?? 0,
  }
}

function optionalCount(node: Node, key: string): number | undefined {
  const value = member(node, key)
  return value === undefined || value === null ? undefined : countAt(node, key)
}

function readHistory(value: unknown, path: string): HistoryEntry {
  const node = asObject(value, path)
  return {
    ...only('created', optionalString(node, 'created')),
    ...only('createdBy', optionalString(node, 'created_by')),
    ...only('author', optionalString(node, 'author')),
    ...only('comment', optionalString(node, 'comment')),
    emptyLayer: optionalBoolean(node, 'empty_layer') ?? false,
  }
}

/** The bytes of a new configuration, in the form that both Docker and OCI tools read. */
export function writeImageConfig(image: ImageConfig): Buffer {
  const { config } = image
  return Buffer.from(
    JSON.stringify({
      architecture: image.architecture,
      variant: image.variant,
      os: image.os,
      created: image.created,
      author: image.author,
      config: {
        User: config.user || undefined,
        ExposedPorts: asKeySet(config.exposedPorts),
        Env: config.env,
        Entrypoint: config.entrypoint ?? undefined,
        Cmd: config.cmd ?? undefined,
        Volumes: asKeySet(config.volumes),
        WorkingDir: config.workingDir || undefined,
        Labels: Object.keys(config.labels).length === 0 ? undefined : config.labels,
        StopSignal: config.stopSignal,
        StopTimeout: config.stopTimeoutSeconds,
        Healthcheck: config.healthcheck === undefined ? undefined : writeHealthcheck(config.healthcheck),
        Shell: config.shell,
        OnBuild: config.onBuild === undefined || config.onBuild.length === 0 ? undefined : config.onBuild,
      },
      rootfs: { type: 'layers', diff_ids: image.diffIds },
      history: image.history.map(writeHistory),
    }),
  )
}

function asKeySet(keys: readonly string[]): Readonly<Record<string, object>> | undefined {
  if (keys.length === 0) return undefined
  const set: Record<string, object> = Object.create(null)
  for (const key of keys.toSorted()) set[key] = {}
  return set
}

/** Docker's form: absent and zero mean the same. */
export function writeHealthcheck(check: HealthcheckConfig): Readonly<Record<string, unknown>> {
  return {
    Test: check.test,
    Interval: check.intervalNs || undefined,
    Timeout: check.timeoutNs || undefined,
    StartPeriod: check.startPeriodNs || undefined,
    StartInterval: check.startIntervalNs || undefined,
    Retries: check.retries || undefined,
  }
}

function writeHistory(entry: HistoryEntry): object {
  return { created: entry.created, created_by: entry.createdBy, author: entry.author, comment: entry.comment, empty_layer: entry.emptyLayer || undefined }
}
