/** Parameters of `POST /build` that Docker's API has not: what `berth build` asks for beside, each as JSON or as a word. */
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import { parsePlatform, platformText } from '#oci/platform.ts'
import type { BuildCall, BuildEntitlement, CacheExport, CacheImport, NamedContext } from '../contract/builds.ts'
import type { BuildRequest } from './backend.ts'
import { JsonInput, queryBoolean } from './json-input.ts'

export function buildExtensions(query: URLSearchParams): Partial<BuildRequest> {
  const call = query.get('call') || undefined
  const contexts = contextsOf(query)
  return {
    ...(call === undefined ? {} : { call: callOf(call) }),
    ...(contexts.size === 0 ? {} : { namedContexts: contexts }),
    cacheTo: textsOf(query, 'cacheto').map(cacheExport),
    entitlements: textsOf(query, 'entitlements').map(entitlement),
    keepFailedRoot: queryBoolean(query, 'keepfailed'),
    ...(query.has('platforms') ? { platforms: textsOf(query, 'platforms').map((platform) => platformText(parsePlatform(platform))) } : {}),
  }
}

/** Of `POST /build?version=2`: `type=registry,ref=…` or a reference alone, which names a registry's. */
export function cacheImport(text: string): CacheImport {
  if (!text.includes('=')) return { kind: 'registry', reference: text }
  const { type, fields } = csvFields(text)
  const reference = fields.get('ref') ?? ''
  if (type !== 'registry' || reference === '') throw new Fault('invalidArgument', `cache import ${text}: expected type=registry,ref=REFERENCE`)
  return { kind: 'registry', reference }
}

function cacheExport(text: string): CacheExport {
  const { type, fields } = csvFields(text.includes('=') ? text : `type=registry,ref=${text}`)
  const mode = fields.get('mode') ?? 'min'
  if (mode !== 'min' && mode !== 'max') throw new Fault('invalidArgument', `cache export ${text}: mode=${mode} is unknown; expected min or max`)
  const reference = fields.get('ref') ?? ''
  if (type === 'inline') return { kind: 'inline' }
  if (type === 'registry' && reference !== '') return { kind: 'registry', reference, mode }
  throw new Fault('invalidArgument', `cache export ${text}: expected type=inline or type=registry,ref=REFERENCE[,mode=max]`)
}

function csvFields(text: string): { readonly type: string; readonly fields: ReadonlyMap<string, string> } {
  const fields = new Map(text.split(',').map((field) => [field.split('=', 1)[0] ?? '', field.slice(field.indexOf('=') + 1)]))
  return { type: fields.get('type') ?? '', fields }
}

function callOf(name: string): BuildCall {
  const call = name === 'lint' ? 'check' : name
  if (call === 'build' || call === 'check' || call === 'outline' || call === 'targets') return call
  throw new Fault('invalidArgument', `unknown call '${name}'; expected build, check, outline or targets`)
}

function entitlement(name: string): BuildEntitlement {
  if (name === 'security.insecure' || name === 'network.host') return name
  throw new Fault('invalidArgument', `unknown entitlement '${name}'; expected security.insecure or network.host`)
}

/** Folders of the client's need its session (`POST /grpc`). */
function contextsOf(query: URLSearchParams): ReadonlyMap<string, NamedContext> {
  const text = query.get('contexts') ?? ''
  if (text === '') return new Map()
  const input = JsonInput.of(parseJson(text, "query parameter 'contexts'"), 'contexts')
  return new Map(
    input.keys().map((name): [string, NamedContext] => {
      const value = input.string(name) ?? ''
      if (value.startsWith('docker-image://')) return [name.toLowerCase(), { kind: 'image', reference: value.slice('docker-image://'.length) }]
      if (/^(https?|git|ssh):\/\/|^git@/.test(value)) return [name.toLowerCase(), { kind: 'url', url: value }]
      throw new Fault('invalidArgument', `build context ${name}=${value}: expected docker-image://…, an address of HTTP or a git repository`)
    }),
  )
}

function textsOf(query: URLSearchParams, name: string): readonly string[] {
  const text = query.get(name) ?? ''
  if (text === '') return []
  const parsed = parseJson(text, `query parameter '${name}'`)
  if (!Array.isArray(parsed) || !parsed.every((item) => typeof item === 'string')) throw new Fault('invalidArgument', `query parameter '${name}' is no list of texts`)
  return parsed
}
