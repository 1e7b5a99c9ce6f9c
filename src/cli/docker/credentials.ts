/** Credentials for registries as docker's clients keep them: `auths`, `credsStore` and `credHelpers` of config.json (docker/cli `cli/config`). */
import { existsSync, readFileSync } from 'node:fs'
import { ExitError } from '../exit.ts'
import { objectAt, parseJson, textAt } from '../json.ts'

/** Runs a credential helper (`docker-credential-NAME get`) with `input`; answers what it printed, and undefined when it said no. */
export type CredentialHelper = (argv: readonly string[], input: string) => Promise<string | undefined>

/** Where the credential for a registry comes from: root's own for the embedded one, else docker's config. */
export interface Credentials {
  /** Most specific first. */
  readonly files: readonly string[]
  readonly helper?: CredentialHelper
}

const dockerHub = 'https://index.docker.io/v1/'

/** The `X-Registry-Auth` header for the registry that `reference` names, when a credential is at hand. */
export async function registryAuth(reference: string, credentials: Credentials): Promise<Record<string, string>> {
  const first = reference.split('/')[0] ?? ''
  const host = reference.includes('/') && /[.:]|^localhost$/.test(first) ? first : dockerHub
  for (const file of credentials.files) {
    if (!existsSync(file)) continue
    const config = parseJson(readFileSync(file, 'utf8'))
    const helper = textAt(objectAt(config, 'credHelpers'), host) || textAt(config, 'credsStore')
    const auth = (helper === '' ? undefined : await askHelper(helper, host, credentials)) ?? storedAuth(config, host)
    if (auth !== undefined) return { 'X-Registry-Auth': Buffer.from(JSON.stringify({ ...auth, serveraddress: host })).toString('base64url') }
  }
  return {}
}

function storedAuth(config: unknown, host: string): Record<string, string> | undefined {
  const auths = objectAt(config, 'auths')
  const entry = [host, `https://${host}`, `https://${host}/v1/`, `https://${host}/v2/`].map((key) => objectAt(auths, key)).find((candidate) => Object.keys(candidate).length > 0)
  const identityToken = textAt(entry, 'identitytoken')
  const decoded = Buffer.from(textAt(entry, 'auth'), 'base64').toString('utf8')
  const colon = decoded.indexOf(':')
  const named: Record<string, string> = colon < 0 ? {} : { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) }
  if (identityToken !== '') return { ...named, identitytoken: identityToken }
  return colon < 0 ? undefined : named
}

/** By the helpers' protocol: the server on its input, `{Username, Secret}` on its output; the user `<token>` means an identity token. */
async function askHelper(name: string, host: string, credentials: Credentials): Promise<Record<string, string> | undefined> {
  const printed = await credentials.helper?.([`docker-credential-${name}`, 'get'], host)
  if (printed === undefined) return undefined
  const answer = parseAnswer(name, printed)
  const [username, secret] = [textAt(answer, 'Username'), textAt(answer, 'Secret')]
  return username === '<token>' ? { identitytoken: secret } : { username, password: secret }
}

function parseAnswer(name: string, printed: string): unknown {
  try {
    return JSON.parse(printed)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new ExitError(`docker-credential-${name} printed no credential: expected {"Username", "Secret"}`)
  }
}
