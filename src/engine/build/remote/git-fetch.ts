/**
 * Fetches git repositories with the machine's own git. What a repository or its server says is not trusted: no hook, no configuration of
 * the machine, no protocol but http, https, ssh and git, no question to anybody.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, isFault } from '#base/fault.ts'
import type { Processes } from '#linux/contract/processes.ts'
import type { GitReference } from './git-reference.ts'

export interface GitOptions {
  readonly processes: Processes
  /** An `Authorization` header for repositories over HTTP. */
  readonly authorization: string | undefined
  /** A socket of an ssh agent. */
  readonly agentSocket: string | undefined
  readonly signal: AbortSignal
  /** What git says while it works. */
  readonly onOutput: (text: string) => void
}

export interface GitCheckout {
  /** 40 hex digits (64 in repositories of sha256). */
  readonly commit: string
  /** The checked-out files. */
  readonly root: string
}

const fullCommit = /^([0-9a-f]{40}|[0-9a-f]{64})$/

export class Git {
  readonly #reference: GitReference
  readonly #options: GitOptions

  constructor(reference: GitReference, options: GitOptions) {
    this.#reference = reference
    this.#options = options
  }

  /** The commit that the reference means now, and the name to fetch it by. Undefined: only the whole history tells. */
  async resolve(): Promise<{ readonly commit: string; readonly name: string } | undefined> {
    const { ref, remote, address } = this.#reference
    if (fullCommit.test(ref)) return { commit: ref, name: ref }
    const wanted = ref === '' ? ['HEAD'] : [`refs/heads/${ref}`, `refs/tags/${ref}^{}`, `refs/tags/${ref}`, ref]
    const listed = new Map<string, string>()
    for (const line of (await this.#git(['ls-remote', '--', remote, ...wanted])).split('\n')) {
      const [commit = '', name = ''] = line.split('\t')
      if (fullCommit.test(commit)) listed.set(name, commit)
    }
    for (const name of wanted) {
      const commit = listed.get(name)
      if (commit !== undefined) return this.#checked({ commit, name: name.replace('^{}', '') })
    }
    if (/^[0-9a-f]{7,}$/.test(ref)) return undefined
    throw new Fault('invalidArgument', `${address} does not contain ref ${ref === '' ? 'HEAD' : ref}`)
  }

  #checked<T extends { readonly commit: string }>(resolved: T): T {
    const { checksum, address } = this.#reference
    if (checksum !== undefined && !resolved.commit.startsWith(checksum)) throw new Fault('invalidArgument', `expected checksum to match ${checksum}, got ${resolved.commit} of ${address}`)
    return resolved
  }

  /** Into `folder`, which does not exist yet. */
  async checkOut(folder: string, keepGitDir: boolean): Promise<GitCheckout> {
    const { remote, submodules, ref, address } = this.#reference
    await mkdir(folder, { mode: 0o755 })
    const inside = (...args: string[]): Promise<string> => this.#git(['-C', folder, ...args])
    await inside('init', '--quiet', '--initial-branch=main')
    await inside('remote', 'add', 'origin', remote)
    const resolved = await this.resolve()
    const commit = (resolved === undefined ? undefined : await this.#fetchOne(inside, resolved)) ?? (await this.#fetchAll(inside, ref, address))
    const isBranch = resolved?.name.startsWith('refs/heads/') === true
    await inside('checkout', '--quiet', '--force', ...(isBranch ? ['-B', resolved.name.slice('refs/heads/'.length)] : ['--detach']), commit)
    if (submodules) await inside('submodule', 'update', '--quiet', '--init', '--recursive', '--depth=1')
    if (!keepGitDir) await rm(join(folder, '.git'), { recursive: true })
    return this.#checked({ commit, root: folder })
  }

  /** Servers may refuse to give a commit by its digest: undefined then. */
  async #fetchOne(inside: (...args: string[]) => Promise<string>, { commit, name }: { readonly commit: string; readonly name: string }): Promise<string | undefined> {
    const target = name.startsWith('refs/heads/') ? `+${name}:refs/remotes/origin/${name.slice('refs/heads/'.length)}` : name.startsWith('refs/tags/') ? `+${name}:${name}` : name
    try {
      await inside('fetch', '--quiet', '--depth=1', '--no-tags', '--', 'origin', target)
    } catch (error) {
      if (!isFault(error, 'invalidArgument')) throw error
      // Repositories that are plain files behind a web server give all or nothing.
      if (/does not support shallow/.test(error.message)) await inside('fetch', '--quiet', '--no-tags', '--', 'origin', target)
      else if (name === commit) return undefined
      else throw error
    }
    return (await inside('rev-parse', '--verify', 'FETCH_HEAD^{commit}')).trim()
  }

  async #fetchAll(inside: (...args: string[]) => Promise<string>, ref: string, address: string): Promise<string> {
    await inside('fetch', '--quiet', '--tags', '--', 'origin', '+refs/heads/*:refs/remotes/origin/*')
    try {
      return (await inside('rev-parse', '--verify', '--end-of-options', `${ref}^{commit}`)).trim()
    } catch (error) {
      if (isFault(error, 'invalidArgument')) throw new Fault('invalidArgument', `${address} has no commit ${ref}`, { cause: error })
      throw error
    }
  }

  async #git(args: readonly string[]): Promise<string> {
    const { processes, signal, onOutput } = this.#options
    const result = await processes.run(['git', ...settings, ...args], { env: this.#environment(), signal, maxOutputBytes: 8 << 20 }).catch((error: unknown) => {
      if (isFault(error, 'notFound')) throw new Fault('unavailable', `git is not installed on this machine: it is needed to fetch ${this.#reference.address}`, { cause: error })
      throw error
    })
    const said = result.stderr.toString('utf8').replaceAll(this.#reference.remote, this.#reference.address)
    if (said !== '') onOutput(said)
    if (result.exitCode !== 0) throw new Fault('invalidArgument', `failed to fetch ${this.#reference.address}: git ${args.find((arg) => /^[a-z]/.test(arg)) ?? ''}: ${said.trim() || `exit code ${result.exitCode}`}`)
    return result.stdout.toString('utf8')
  }

  #environment(): Readonly<Record<string, string>> {
    const { authorization, agentSocket } = this.#options
    const config: [string, string][] = authorization === undefined ? [] : [[`http.${originOf(this.#reference.remote)}.extraHeader`, `Authorization: ${authorization}`]]
    return {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: '/nonexistent',
      LANG: 'C',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_ATTR_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: '/bin/false',
      SSH_ASKPASS: '/bin/false',
      GIT_ALLOW_PROTOCOL: 'http:https:ssh:git',
      GIT_SSH_COMMAND: 'ssh -F /dev/null -o BatchMode=yes -o UserKnownHostsFile=/etc/ssh/ssh_known_hosts -o IdentityFile=none',
      ...(agentSocket === undefined ? {} : { SSH_AUTH_SOCK: agentSocket }),
      // By the environment, so that no list of processes shows it.
      GIT_CONFIG_COUNT: String(config.length),
      ...Object.fromEntries(config.flatMap(([key, value], index) => [[`GIT_CONFIG_KEY_${index}`, key], [`GIT_CONFIG_VALUE_${index}`, value]])),
    }
  }
}

const settings = ['core.hooksPath=/dev/null', 'core.fsmonitor=false', 'protocol.ext.allow=never', 'protocol.file.allow=never', 'advice.detachedHead=false', 'gc.auto=0'].flatMap((setting) => ['-c', setting])

function originOf(remote: string): string {
  return URL.canParse(remote) ? `${new URL(remote).origin}/` : ''
}
