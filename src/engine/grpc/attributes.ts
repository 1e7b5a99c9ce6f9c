/**
 * The attributes of the `dockerfile.v0` frontend (moby/buildkit `frontend/dockerui/config.go`), parsed once. What they say about contexts
 * is in `contexts.ts`.
 */
import { Fault } from '#base/fault.ts'
import { cleanCgroupParent } from '../http/container-spec.ts'
import { JsonInput } from '../http/json-input.ts'
import { parseJson } from '#base/json.ts'
import { parsePlatform, platformText } from '#oci/platform.ts'
import { isTrue, type Attributes } from '../exports/options.ts'
import type { BuildCall } from '../contract/builds.ts'
import type { BuildRequest } from '../http/backend.ts'

/** What the attributes alone decide of a request. */
export type AskedBuild = Pick<
  BuildRequest,
  'call' | 'dockerfile' | 'buildArgs' | 'labels' | 'target' | 'noCache' | 'pull' | 'platforms' | 'networkMode' | 'extraHosts' | 'shmSizeBytes' | 'memoryBytes' | 'cpuShares' | 'cpuQuotaUs' | 'cpuPeriodUs' | 'cpusetCpus' | 'ulimits' | 'hostname' | 'cgroupParent'
>

const buildArgPrefix = 'build-arg:'
const labelPrefix = 'label:'

/** Subrequests by their name; `frontend.subrequests.describe` is none that clients of builds send. */
const calls: Readonly<Record<string, BuildCall>> = { 'frontend.lint': 'check', 'frontend.outline': 'outline', 'frontend.targets': 'targets' }

export function parseAttributes(attributes: Attributes): AskedBuild {
  const given = (name: string): string | undefined => attributes.get(name) || undefined
  return {
    ...callOf(given('requestid')),
    dockerfile: given('filename') ?? 'Dockerfile',
    buildArgs: withPrefix(attributes, buildArgPrefix),
    labels: withPrefix(attributes, labelPrefix),
    target: given('target') ?? '',
    noCache: noCacheOf(attributes.get('no-cache')),
    pull: given('image-resolve-mode') === 'pull',
    platforms: [...new Set(csv(given('platform')).map((platform) => platformText(parsePlatform(platform))))],
    networkMode: networkOf(given('force-network-mode')),
    extraHosts: csv(given('add-hosts')).map(hostOf),
    shmSizeBytes: count(attributes, 'shm-size'),
    memoryBytes: count(attributes, 'memory'),
    cpuShares: count(attributes, 'cpushares'),
    cpuQuotaUs: count(attributes, 'cpuquota'),
    cpuPeriodUs: count(attributes, 'cpuperiod'),
    cpusetCpus: given('cpusetcpus'),
    ulimits: csv(given('ulimit')).map(ulimitOf),
    hostname: given('hostname'),
    cgroupParent: given('cgroup-parent') === undefined ? undefined : cleanCgroupParent(given('cgroup-parent') ?? ''),
  }
}

/** Cache sources that a client names: BuildKit's list in JSON, and references of the older way. */
export function cacheImportsOf(attributes: Attributes): readonly { readonly type: string; readonly attributes: Attributes }[] {
  const text = attributes.get('cache-imports') ?? ''
  const listed = text === '' ? [] : JsonInput.of({ list: parseJson(text, 'cache-imports') }, '').objects('list').map((entry) => ({ type: entry.string('Type') ?? '', attributes: stringsOf(entry.object('Attrs')) }))
  const references = csv(attributes.get('cache-from')).map((reference) => ({ type: 'registry', attributes: new Map([['ref', reference]]) }))
  return [...listed, ...references]
}

function stringsOf(input: JsonInput | undefined): Attributes {
  return new Map(input?.keys().map((key) => [key, input.string(key) ?? '']) ?? [])
}

function callOf(name: string | undefined): { readonly call?: BuildCall } {
  if (name === undefined) return {}
  const call = calls[name]
  if (call === undefined) throw new Fault('unimplemented', `unsupported request ${name}`)
  return { call }
}

function withPrefix(attributes: Attributes, prefix: string): Record<string, string> {
  return Object.fromEntries([...attributes].flatMap(([name, value]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [])))
}

/** There without a value: no step is known before. */
function noCacheOf(value: string | undefined): boolean | readonly string[] {
  if (value === undefined) return false
  return value === '' ? true : value.split(',').map((stage) => stage.trim())
}

/** Whether the result is one for each platform by itself, as it is for several. */
export function isMultiPlatform(attributes: Attributes): boolean {
  const isSeveral = csv(attributes.get('platform')).length > 1
  const name = attributes.get('build-arg:BUILDKIT_MULTI_PLATFORM') ? 'build-arg:BUILDKIT_MULTI_PLATFORM' : 'multi-platform'
  if (!attributes.get(name)) return isSeveral
  const isAsked = isTrue(attributes, name)
  if (!isAsked && isSeveral) throw new Fault('invalidArgument', 'conflicting config: returning multiple target platforms is not allowed')
  return isAsked
}

function networkOf(mode: string | undefined): string {
  switch (mode) {
    case undefined:
    case 'sandbox':
    case 'default':
      return 'default'
    case 'host':
    case 'none':
      return mode
    default:
      throw new Fault('invalidArgument', `invalid netmode ${mode}`)
  }
}

function csv(text: string | undefined): string[] {
  return text === undefined || text === '' ? [] : text.split(',').map((each) => each.trim())
}

function hostOf(entry: string): string {
  const equals = entry.indexOf('=')
  if (equals < 1) throw new Fault('invalidArgument', `invalid key-value pair ${entry} of add-hosts; expected HOST=ADDRESS`)
  return `${entry.slice(0, equals)}:${entry.slice(equals + 1)}`
}

function ulimitOf(entry: string): BuildRequest['ulimits'][number] {
  const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(entry)
  if (match === null) throw new Fault('invalidArgument', `invalid ulimit ${entry}; expected NAME=SOFT[:HARD]`)
  const [, name = '', soft = '', hard = soft] = match
  return { name, soft: Number(soft), hard: Number(hard) }
}

/** Undefined: not said. */
function count(attributes: Attributes, name: string): number | undefined {
  const text = attributes.get(name) ?? ''
  if (text === '') return undefined
  if (!/^-?\d{1,19}$/.test(text)) throw new Fault('invalidArgument', `${name} expects an integer, got ${text}`)
  return Number(text) || undefined
}
