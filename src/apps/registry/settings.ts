/**
 * The registry's settings, a YAML file of its own: `registry.yaml` beside `config.yaml` for the registry of `berth up`, any file for
 * `berth registry serve`. Everything may be left out. Paths are relative to the file; times are like 30s, 15m, 24h, 7d; sizes like
 * 500MB or 10GiB.
 *
 *     address: 0.0.0.0:5000              # serve only
 *     tls: { certificate: tls.crt, key: tls.key }
 *     storage: { folder: /srv/registry } # serve only; or
 *     storage: { s3: { bucket: images, prefix: berth/, endpoint: https://minio:9000, region: eu-central-1 } }
 *     auth:
 *       htpasswd: users                  # htpasswd -B
 *       anonymousPull: true
 *       rights: [ { users: [ci], repositories: ['team/**'], actions: [pull, push] } ]
 *       tokenServer: { realm: https://auth/token, service: registry, issuer: auth, keys: jwks.json }
 *     readOnly: false
 *     sparse: false                      # manifests may point to what is not here
 *     quota: { repository: 10GiB, total: 200GiB }
 *     mirrors: [ { prefix: docker.io/, upstream: docker.io, username: me, passwordFile: hub, fresh: 1m } ]
 *     retention: [ { repositories: 'team/**', tags: 'build-*', keepNewest: 10, keepFor: 7d, untaggedFor: 30d } ]
 *     collect: { grace: 24h, every: 6h }
 *     webhooks: [ { url: https://ci/hook, headers: { Authorization: Bearer x }, actions: [push], repositories: ['team/**'] } ]
 *     accessLog: true
 *
 * Credentials of S3 come from where Amazon's tools look for them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, files, instance roles.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import { Fault } from '#base/fault.ts'
import type { Node } from '#oci/json.ts'
import { asObject, countAt, member, optionalBoolean, optionalList, optionalString, optionalStringMap, stringAt } from '#oci/json.ts'
import { parseRights } from '#registry/auth/rights.ts'
import type { RegistryOptions } from '#registry/registry.ts'
import type { S3Options } from '#registry/storage/objects/s3-objects.ts'

/** What `openRegistry` takes of the settings. */
export type RegistryModes = Pick<RegistryOptions, 'htpasswd' | 'anonymousPull' | 'rights' | 'tokenServer' | 'readOnly' | 'sparse' | 'quota' | 'mirrors' | 'webhooks' | 'collect'>

export interface RegistrySettings {
  readonly address: { readonly host: string; readonly port: number } | undefined
  readonly tls: { readonly certificate: string; readonly key: string } | undefined
  readonly folder: string | undefined
  readonly s3: S3Options | undefined
  readonly modes: RegistryModes
  readonly logsRequests: boolean
}

/** Reads a file of settings; one that is not there says nothing. `invalidArgument` names the place of what is wrong. */
export function readRegistrySettings(path: string): RegistrySettings {
  return parseRegistrySettings(existsSync(path) ? readFileSync(path, 'utf8') : '', path)
}

export function parseRegistrySettings(text: string, path: string): RegistrySettings {
  const document = parseDocument(text)
  const [problem] = document.errors
  if (problem !== undefined) throw new Fault('invalidArgument', `${path}: ${problem.message.split('\n')[0] ?? ''}`)
  const root = asObject(document.toJS() ?? {}, path)
  known(root, ['address', 'tls', 'storage', 'auth', 'readOnly', 'sparse', 'quota', 'mirrors', 'retention', 'collect', 'webhooks', 'accessLog'])
  const beside = (file: string): string => resolve(dirname(path), file)
  const tls = part(root, 'tls', ['certificate', 'key'])
  const storage = part(root, 'storage', ['folder', 's3'])
  const folder = storage === undefined ? undefined : optionalString(storage, 'folder')
  const s3 = storage === undefined ? undefined : part(storage, 's3', ['bucket', 'prefix', 'endpoint', 'region'])
  return {
    address: addressOf(optionalString(root, 'address'), `${path}.address`),
    tls: tls === undefined ? undefined : { certificate: textOf(beside(stringAt(tls, 'certificate'))), key: textOf(beside(stringAt(tls, 'key'))) },
    folder: folder === undefined ? undefined : beside(folder),
    s3: s3 === undefined ? undefined : { bucket: stringAt(s3, 'bucket'), ...strings(s3, ['prefix', 'endpoint', 'region']) },
    modes: { ...authOf(root, beside), ...limitsOf(root), ...mirrorsOf(root, beside), ...collectOf(root), ...webhooksOf(root) },
    logsRequests: optionalBoolean(root, 'accessLog') === true,
  }
}

function authOf(root: Node, beside: (file: string) => string): RegistryModes {
  const auth = part(root, 'auth', ['htpasswd', 'anonymousPull', 'rights', 'tokenServer'])
  if (auth === undefined) return {}
  const htpasswd = optionalString(auth, 'htpasswd')
  const anonymousPull = optionalBoolean(auth, 'anonymousPull')
  const rights: unknown = member(auth, 'rights')
  const server = part(auth, 'tokenServer', ['realm', 'service', 'issuer', 'keys'])
  return {
    ...(htpasswd === undefined ? {} : { htpasswd: textOf(beside(htpasswd)) }),
    ...(anonymousPull === undefined ? {} : { anonymousPull }),
    ...(rights === undefined ? {} : { rights: parseRights(rights, `${auth.path}.rights`) }),
    ...(server === undefined ? {} : { tokenServer: { realm: stringAt(server, 'realm'), service: stringAt(server, 'service'), issuer: stringAt(server, 'issuer'), keys: textOf(beside(stringAt(server, 'keys'))) } }),
  }
}

function limitsOf(root: Node): RegistryModes {
  const quota = part(root, 'quota', ['repository', 'total'])
  const bytes = (key: string): number | undefined => (quota === undefined ? undefined : measureAt(quota, key, sizes, 'a size such as 500MB or 10GiB'))
  const [repositoryBytes, totalBytes] = [bytes('repository'), bytes('total')]
  return {
    readOnly: optionalBoolean(root, 'readOnly') === true,
    sparse: optionalBoolean(root, 'sparse') === true,
    quota: { ...(repositoryBytes === undefined ? {} : { repositoryBytes }), ...(totalBytes === undefined ? {} : { totalBytes }) },
  }
}

function mirrorsOf(root: Node, beside: (file: string) => string): RegistryModes {
  const mirrors = optionalList(root, 'mirrors', (item, path) => {
    const node = known(asObject(item, path), ['prefix', 'upstream', 'username', 'passwordFile', 'insecure', 'fresh'])
    const [username, passwordFile, freshMs] = [optionalString(node, 'username'), optionalString(node, 'passwordFile'), durationAt(node, 'fresh')]
    const credentials = username === undefined || passwordFile === undefined ? undefined : { username, password: textOf(beside(passwordFile)).trim() }
    return {
      prefix: optionalString(node, 'prefix') ?? '', upstream: stringAt(node, 'upstream'), insecure: optionalBoolean(node, 'insecure') === true,
      ...(credentials === undefined ? {} : { credentials }), ...(freshMs === undefined ? {} : { freshMs }),
    }
  })
  return mirrors === undefined ? {} : { mirrors }
}

function collectOf(root: Node): RegistryModes {
  const collect = part(root, 'collect', ['grace', 'every'])
  const [graceMs, everyMs] = collect === undefined ? [] : [durationAt(collect, 'grace'), durationAt(collect, 'every')]
  const retention = optionalList(root, 'retention', (item, path) => {
    const node = known(asObject(item, path), ['repositories', 'tags', 'keepNewest', 'keepFor', 'untaggedFor'])
    const [tags, keepForMs, untaggedForMs] = [optionalString(node, 'tags'), durationAt(node, 'keepFor'), durationAt(node, 'untaggedFor')]
    return {
      repositories: stringAt(node, 'repositories'),
      ...(tags === undefined ? {} : { tags }),
      ...(member(node, 'keepNewest') === undefined ? {} : { keepNewest: countAt(node, 'keepNewest') }),
      ...(keepForMs === undefined ? {} : { keepForMs }),
      ...(untaggedForMs === undefined ? {} : { untaggedForMs }),
    }
  })
  return { collect: { ...(graceMs === undefined ? {} : { graceMs }), everyMs: everyMs ?? usualCollectMs, ...(retention === undefined ? {} : { retention }) } }
}

function webhooksOf(root: Node): RegistryModes {
  const webhooks = optionalList(root, 'webhooks', (item, path) => {
    const node = known(asObject(item, path), ['url', 'headers', 'actions', 'repositories'])
    const headers = optionalStringMap(node, 'headers')
    const actions = optionalList(node, 'actions', (word, at) => {
      if (word === 'push' || word === 'pull' || word === 'mount' || word === 'delete') return word
      throw new Fault('invalidArgument', `${at}: expected push, pull, mount or delete, found ${JSON.stringify(word)}`)
    })
    const repositories = optionalList(node, 'repositories', (glob) => String(glob))
    return { url: stringAt(node, 'url'), ...(headers === undefined ? {} : { headers }), ...(actions === undefined ? {} : { actions }), ...(repositories === undefined ? {} : { repositories }) }
  })
  return webhooks === undefined ? {} : { webhooks }
}

const usualCollectMs = 6 * 3_600_000
const times: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const sizes: Readonly<Record<string, number>> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }

function durationAt(node: Node, key: string): number | undefined {
  return measureAt(node, key, times, 'a time such as 30s, 15m, 24h or 7d')
}

function measureAt(node: Node, key: string, units: Readonly<Record<string, number>>, expected: string): number | undefined {
  const text = optionalString(node, key)
  if (text === undefined) return undefined
  const [, number = '', unit = ''] = /^([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)$/.exec(text) ?? []
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined
  if (factor === undefined) throw new Fault('invalidArgument', `${node.path}.${key}: expected ${expected}, found '${text}'`)
  return Number(number) * factor
}

function addressOf(text: string | undefined, where: string): RegistrySettings['address'] {
  if (text === undefined) return undefined
  const [, host = '', port = ''] = /^(.+):([0-9]{1,5})$/.exec(text) ?? []
  if (host === '' || Number(port) > 65_535) throw new Fault('invalidArgument', `${where}: expected HOST:PORT, found '${text}'`)
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) }
}

function known(node: Node, keys: readonly string[]): Node {
  for (const key of Object.keys(node.value)) if (!keys.includes(key)) throw new Fault('invalidArgument', `${node.path}: unknown setting '${key}': expected one of ${keys.join(', ')}`)
  return node
}

function part(node: Node, key: string, keys: readonly string[]): Node | undefined {
  const value = member(node, key)
  return value === undefined || value === null ? undefined : known(asObject(value, `${node.path}.${key}`), keys)
}

function strings<K extends string>(node: Node, keys: readonly K[]): Partial<Record<K, string>> {
  const found: Partial<Record<K, string>> = {}
  for (const key of keys) {
    const value = optionalString(node, key)
    if (value !== undefined) found[key] = value
  }
  return found
}

function textOf(path: string): string {
  if (!existsSync(path)) throw new Fault('invalidArgument', `there is no file '${path}'`)
  return readFileSync(path, 'utf8')
}
