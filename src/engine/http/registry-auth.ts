/** Credentials as clients send them: base64url JSON in `X-Registry-Auth` and `X-Registry-Config`, or as a body of `POST /auth`. */
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import type { RegistryAuth } from '../contract/images.ts'
import { JsonInput } from './json-input.ts'

export function authOf(input: JsonInput): RegistryAuth {
  const fields: Record<string, string | undefined> = {
    username: input.string('username'),
    password: input.string('password'),
    identityToken: input.string('identitytoken'),
    registryToken: input.string('registrytoken'),
    serverAddress: input.string('serveraddress'),
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== ''))
}

function decoded(header: string, name: string): JsonInput {
  const bytes = Buffer.from(header, 'base64url')
  try {
    return JsonInput.of(bytes.length === 0 ? {} : parseJson(bytes, name), name)
  } catch (error) {
    throw new Fault('invalidArgument', `${name} is no base64url-encoded JSON object`, { cause: error })
  }
}

export function authHeader(header: string | string[] | undefined): RegistryAuth | undefined {
  if (typeof header !== 'string' || header === '') return undefined
  const auth = authOf(decoded(header, 'X-Registry-Auth'))
  return Object.keys(auth).length === 0 ? undefined : auth
}

export function authsHeader(header: string | string[] | undefined): Readonly<Record<string, RegistryAuth>> {
  if (typeof header !== 'string' || header === '') return {}
  const input = decoded(header, 'X-Registry-Config')
  return Object.fromEntries(input.keys().map((host) => [host, authOf(input.object(host))]))
}
