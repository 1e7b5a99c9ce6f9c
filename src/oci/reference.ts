/**
 * Image references as Docker and Kubernetes users write them: `busybox`, `team/app:1`, `localhost:5000/x@sha256:…`.
 * Grammar: github.com/distribution/reference. A name without a registry always means docker.io, and a single-word one
 * docker.io/library, whatever the machine; there is no search list.
 */
import { Fault } from '#base/fault.ts'
import { isDigest } from './digest.ts'
import type { Digest } from './digest.ts'

export interface Reference {
  /** Host with optional port: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  readonly registry: string
  /** Path in the registry: `library/busybox`. */
  readonly repository: string
  readonly tag?: string
  readonly digest?: Digest
}

const component = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*'
const repositoryShape = new RegExp(`^${component}(?:/${component})*$`)
const hostLabel = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])'
const registryShape = new RegExp(`^(?:${hostLabel}(?:\\.${hostLabel})*|\\[[0-9a-fA-F:]+\\])(?::[0-9]+)?$`)
const tagShape = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const maxNameLength = 255

export const dockerHub = 'docker.io'

/** Parses a reference as a user wrote it. Neither tag nor digest is made up: see `withDefaultTag`. Refusals are `invalidArgument`. */
export function parseReference(text: string): Reference {
  const at = text.indexOf('@')
  const digestText = at < 0 ? undefined : text.slice(at + 1)
  const nameAndTag = at < 0 ? text : text.slice(0, at)
  const colon = nameAndTag.lastIndexOf(':')
  const hasTag = colon > nameAndTag.lastIndexOf('/')
  const tag = hasTag ? nameAndTag.slice(colon + 1) : undefined
  const name = hasTag ? nameAndTag.slice(0, colon) : nameAndTag
  if (tag !== undefined && !isTag(tag)) throw invalid(text, `the tag '${tag}' is not 1 to 128 letters, digits, '_', '.' or '-'`)
  if (digestText !== undefined && !isDigest(digestText)) throw invalid(text, `'${digestText}' is no digest: expected sha256: and 64 hex digits`)
  if (/^[0-9a-f]{64}$/.test(name)) throw invalid(text, 'a name of 64 hex digits would be taken for an image id')
  const { registry, repository } = splitName(name)
  if (/[A-Z]/.test(repository)) throw invalid(text, 'repository name must be lowercase')
  if (!registryShape.test(registry)) throw invalid(text, `'${registry}' is no registry host`)
  if (!isRepository(repository)) throw invalid(text, `'${repository}' is no repository name: lower-case letters and digits, separated by '.', '_', '-' or '/'`)
  if (registry.length + 1 + repository.length > maxNameLength) throw invalid(text, `a name holds at most ${maxNameLength} characters`)
  return { registry, repository, ...(tag === undefined ? {} : { tag }), ...(digestText === undefined ? {} : { digest: digestText }) }
}

function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/')
  const head = slash < 0 ? '' : name.slice(0, slash)
  const isHost = slash >= 0 && (/[.:]/.test(head) || head === 'localhost' || head !== head.toLowerCase())
  const registry = isHost ? head : dockerHub
  const rest = isHost ? name.slice(slash + 1) : name
  if (registry !== dockerHub && registry !== 'index.docker.io') return { registry, repository: rest }
  return { registry: dockerHub, repository: rest.includes('/') ? rest : `library/${rest}` }
}

function invalid(text: string, why: string): Fault {
  // Docker's clients match on "invalid reference format".
  return new Fault('invalidArgument', `invalid reference format: '${text.slice(0, 300)}': ${why.slice(0, 500)}`)
}

export function isTag(text: string): boolean {
  return tagShape.test(text)
}

/** A repository path as the distribution specification allows it. */
export function isRepository(text: string): boolean {
  return text.length <= maxNameLength && repositoryShape.test(text)
}

/** The reference with tag `latest` where it has neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: 'latest' } : reference
}

/** The full form, the one that is stored: `docker.io/library/busybox:latest`. */
export function canonicalReference(reference: Reference): string {
  return `${reference.registry}/${reference.repository}${suffix(reference)}`
}

/** The short form that Docker prints: `busybox:latest`. */
export function familiarReference(reference: Reference): string {
  return `${familiarName(reference)}${suffix(reference)}`
}

/** The short form without tag and digest: `busybox`, `localhost:5000/x`. */
export function familiarName(reference: Reference): string {
  if (reference.registry !== dockerHub) return `${reference.registry}/${reference.repository}`
  const rest = reference.repository.startsWith('library/') ? reference.repository.slice('library/'.length) : reference.repository
  return rest.includes('/') ? reference.repository : rest
}

function suffix(reference: Reference): string {
  return `${reference.tag === undefined ? '' : `:${reference.tag}`}${reference.digest === undefined ? '' : `@${reference.digest}`}`
}
