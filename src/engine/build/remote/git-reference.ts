/**
 * Git repositories as Docker's URLs name them: `https://host/x.git#ref:folder`, `git://…`, `ssh://…`, `git@host:x.git`, and `github.com/…`
 * for contexts; instead of the fragment also a query (`?ref=…&subdir=…`).
 * Reference: https://docs.docker.com/build/concepts/context/#git-repositories
 */
import { Fault } from '#base/fault.ts'

export interface GitReference {
  /** What git fetches from. */
  readonly remote: string
  /** For people: without a password. */
  readonly address: string
  /** Branch, tag or commit; empty: what HEAD names. */
  readonly ref: string
  /** Relative, without `..`; empty: the root. */
  readonly folder: string
  /** The commit it must be, in hex, maybe shortened. */
  readonly checksum: string | undefined
  readonly keepGitDir: boolean | undefined
  readonly submodules: boolean
}

const scpLike = /^([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):([^?#]+)(\?[^#]*)?(?:#(.*))?$/

/** Undefined: the text names no repository. `isContext` also accepts what cannot be told from a path: `github.com/…`. */
export function parseGitReference(text: string, options: { readonly isContext: boolean }): GitReference | undefined {
  const scp = scpLike.exec(text)
  if (scp !== null) {
    const [, user, host, path = '', query = '', fragment = ''] = scp
    const remote = `${user ?? ''}@${host ?? ''}:${path}`
    return referenceOf(text, remote, { address: remote, query: new URLSearchParams(query), fragment })
  }
  const written = options.isContext && text.startsWith('github.com/') ? `https://${text}` : text
  if (!/^(https?|git|ssh):\/\//i.test(written) || !URL.canParse(written)) return undefined
  const url = new URL(written)
  const isHttp = url.protocol === 'http:' || url.protocol === 'https:'
  if (isHttp && !url.pathname.endsWith('.git') && written === text) return undefined
  const { searchParams: query, hash } = url
  const bare = new URL(url)
  bare.hash = ''
  bare.search = ''
  const shown = new URL(bare)
  if (shown.password !== '') shown.password = 'xxxxx'
  return referenceOf(text, bare.href, { address: shown.href, query, fragment: decodeURIComponent(hash.slice(1)) })
}

function referenceOf(text: string, remote: string, { address, query, fragment }: { readonly address: string; readonly query: URLSearchParams; readonly fragment: string }): GitReference {
  const colon = fragment.indexOf(':')
  const fields = new Map<string, string>([['ref', colon < 0 ? fragment : fragment.slice(0, colon)], ['subdir', colon < 0 ? '' : fragment.slice(colon + 1)]])
  for (const [name, value] of query) {
    const [field, set] = name === 'tag' ? ['ref', `refs/tags/${value}`] : name === 'branch' ? ['ref', `refs/heads/${value}`] : name === 'commit' ? ['checksum', value] : [name, value]
    if (!knownFields.includes(field)) throw new Fault('invalidArgument', `${address}: unexpected query "${name}"; expected ${[...knownFields, 'tag', 'branch', 'commit'].join(', ')}`)
    const before = fields.get(field) ?? ''
    if (before !== '' && before !== set) throw new Fault('invalidArgument', `${address}: ${field} conflicts: "${before}" and "${set}"`)
    fields.set(field, set)
  }
  const ref = fields.get('ref') ?? ''
  if (ref.startsWith('-') || /[^!-}]|[\^:?*[\\]|\.\./.test(ref)) throw new Fault('invalidArgument', `${text}: '${ref}' is no branch, tag or commit`)
  const folder = (fields.get('subdir') ?? '').split('/').filter((part) => part !== '' && part !== '.')
  if (folder.includes('..')) throw new Fault('invalidArgument', `${text}: the folder leads out of the repository`)
  const checksum = fields.get('checksum')
  if (checksum !== undefined && !/^[0-9a-f]{7,64}$/.test(checksum)) throw new Fault('invalidArgument', `${address}: '${checksum}' is no commit; expected at least 7 hex digits`)
  const keep = fields.get('keep-git-dir')
  return { remote, address, ref, folder: folder.join('/'), checksum, keepGitDir: keep === undefined ? undefined : saysYes(keep), submodules: saysYes(fields.get('submodules') ?? 'true') }
}

const knownFields = ['ref', 'subdir', 'checksum', 'keep-git-dir', 'submodules']

function saysYes(value: string): boolean {
  return value === '' || value === '1' || value === 'true'
}
