/** Rules of config maps and secrets: sizes, keys, what each secret type needs, and freezing by `immutable`. */
import type { FaultCause } from '#base/fault.ts'
import { forbidden, invalid, required, tooLong } from '#schema/cause.ts'
import { isJsonObject, sameJson } from '#schema/json.ts'

type Texts = { readonly [key: string]: string }
interface ConfigMapLike {
  readonly immutable?: boolean | undefined
  readonly data?: Texts | undefined
  readonly binaryData?: Texts | undefined
}
interface SecretLike {
  readonly metadata: { readonly annotations?: Texts | undefined }
  readonly immutable?: boolean | undefined
  readonly type: string
  readonly data?: Texts | undefined
}

const limitBytes = 1024 * 1024
const base64Bytes = (text: string): number => Buffer.byteLength(text, 'base64')

export function configMapRules({ data = {}, binaryData = {} }: ConfigMapLike): readonly FaultCause[] {
  const repeated = Object.keys(binaryData).filter((key) => Object.hasOwn(data, key))
  const size = Object.values(data).reduce((sum, text) => sum + Buffer.byteLength(text), 0) + Object.values(binaryData).reduce((sum, text) => sum + base64Bytes(text), 0)
  return [...repeated.map((key) => invalid(`data[${key}]`, key, 'duplicate of key present in binaryData')), ...(size > limitBytes ? [tooLong('', limitBytes)] : [])]
}

export function configMapUpdateRules(next: ConfigMapLike, previous: ConfigMapLike): readonly FaultCause[] {
  if (previous.immutable !== true) return []
  return frozen([['immutable', next.immutable === true], ['data', sameJson(next.data, previous.data)], ['binaryData', sameJson(next.binaryData, previous.binaryData)]])
}

function frozen(kept: readonly (readonly [string, boolean])[]): FaultCause[] {
  return kept.filter(([, same]) => !same).map(([field]) => forbidden(field, 'field is immutable when `immutable` is set'))
}

/** Keys that each well-known type of secret must have. */
const neededKeys: { readonly [type: string]: readonly string[] } = {
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
}

export function secretRules({ metadata, type, data = {} }: SecretLike): readonly FaultCause[] {
  const size = Object.values(data).reduce((sum, text) => sum + base64Bytes(text), 0)
  const causes: FaultCause[] = size > limitBytes ? [tooLong('data', limitBytes)] : []
  for (const key of Object.hasOwn(neededKeys, type) ? (neededKeys[type] ?? []) : []) {
    if (!Object.hasOwn(data, key)) causes.push(required(`data[${key}]`))
    else if (key.startsWith('.docker') && !isJsonText(data[key] ?? '')) causes.push(invalid(`data[${key}]`, '<secret contents redacted>', 'must be a JSON object'))
  }
  if (type === 'kubernetes.io/basic-auth' && !Object.hasOwn(data, 'username') && !Object.hasOwn(data, 'password')) {
    causes.push(required('data[username]'), required('data[password]'))
  }
  if (type === 'kubernetes.io/service-account-token' && (metadata.annotations?.['kubernetes.io/service-account.name'] ?? '') === '') {
    causes.push(required('metadata.annotations[kubernetes.io/service-account.name]'))
  }
  return causes
}

function isJsonText(base64: string): boolean {
  try {
    return isJsonObject(JSON.parse(Buffer.from(base64, 'base64').toString('utf8')))
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}

export function secretUpdateRules(next: SecretLike, previous: SecretLike): readonly FaultCause[] {
  if (previous.immutable !== true) return []
  return frozen([['immutable', next.immutable === true], ['data', sameJson(next.data, previous.data)]])
}
