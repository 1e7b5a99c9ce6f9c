/**
 * Who may do what: without users everything is open; with users anybody may pull (unless `anonymousPull` is off) and users
 * may push and delete; with rights, what these grant. Credentials come as Basic or as a bearer token that `/token` gave out for
 * them, or that another server did, whose word then holds.
 */
import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { equalSecrets, parseHtpasswd, PasswordFile } from './htpasswd.ts'
import type { Rights } from './rights.ts'
import { isGranted } from './rights.ts'
import type { TokenServer } from './token-server.ts'
import { ForeignTokens } from './token-server.ts'
import { formatScopes, parseScopes, tokenLifetimeSeconds, Tokens } from './tokens.ts'
import type { Access, Action, Token } from './tokens.ts'

export interface RegistryAuthOptions {
  /** Text of an htpasswd file; no users: everybody may do everything. */
  readonly htpasswd?: string
  /** Default true. */
  readonly anonymousPull?: boolean
  /** What is granted, instead of the plain rule. */
  readonly rights?: Rights
  /** Gives out tokens in our place. */
  readonly tokenServer?: TokenServer
  /** The engine on this machine: may push, and may mount any stored blob into any repository. */
  readonly engine?: { readonly username: string; readonly password: string }
  /** Signs tokens; 32 random bytes, the same in every registry that serves the same folder. */
  readonly tokenKey: Uint8Array
  readonly clock: Clock
}

export interface Caller {
  /** undefined: anonymous. */
  readonly user: string | undefined
  readonly isEngine: boolean
  /** What a token limits the caller to; undefined for Basic credentials. */
  readonly token: Token | undefined
  /** True when the token server gave it out: it says all there is to say. */
  readonly isForeign?: boolean
}

const anonymous: Caller = { user: undefined, isEngine: false, token: undefined }

export class RegistryAuth {
  readonly #users: PasswordFile
  readonly #options: RegistryAuthOptions
  readonly #tokens: Tokens
  readonly #foreign: ForeignTokens | undefined

  constructor(options: RegistryAuthOptions) {
    this.#options = options
    this.#users = new PasswordFile(parseHtpasswd(options.htpasswd ?? ''), options.clock)
    this.#tokens = new Tokens(options.tokenKey, options.clock)
    this.#foreign = options.tokenServer === undefined ? undefined : new ForeignTokens(options.tokenServer, options.clock)
  }

  get isOpen(): boolean {
    return this.#users.size === 0 && this.#options.engine === undefined && this.#options.rights === undefined && this.#foreign === undefined
  }

  /** Who sent the request. Wrong credentials are `unauthenticated`, none are anonymous. */
  async caller(req: IncomingMessage): Promise<Caller> {
    const header = req.headers.authorization
    if (header === undefined || this.isOpen) return anonymous
    const space = header.indexOf(' ')
    const scheme = header.slice(0, space).toLowerCase()
    const value = header.slice(space + 1).trim()
    if (scheme === 'basic') return await this.#basic(value)
    if (scheme !== 'bearer') throw new Fault('unauthenticated', `authorization scheme '${scheme}' is unknown: expected Basic or Bearer`)
    const foreign = this.#foreign?.read(value)
    if (foreign !== undefined) return { user: foreign.subject === '' ? undefined : foreign.subject, isEngine: false, token: foreign, isForeign: true }
    const token = this.#tokens.read(value)
    if (token === undefined) throw new Fault('unauthenticated', 'the bearer token is not valid (any more): ask for a new one')
    return { user: token.subject === '' ? undefined : token.subject, isEngine: token.subject !== '' && token.subject === this.#options.engine?.username, token }
  }

  async #basic(value: string): Promise<Caller> {
    const text = Buffer.from(value, 'base64').toString('utf8')
    const colon = text.indexOf(':')
    return await this.#checked(text.slice(0, Math.max(0, colon)), text.slice(colon + 1))
  }

  async #checked(user: string, password: string): Promise<Caller> {
    const { engine } = this.#options
    if (engine !== undefined && user === engine.username && equalSecrets(password, engine.password)) return { user, isEngine: true, token: undefined }
    if (await this.#users.verify(user, password)) return { user, isEngine: false, token: undefined }
    throw new Fault('unauthenticated', 'the user name or the password is wrong')
  }

  may(caller: Caller, action: Action, repository: string): boolean {
    if (this.isOpen || (caller.isEngine && caller.token === undefined)) return true
    const isInToken = caller.token?.access.some((access) => access.repository === repository && access.actions.includes(action))
    if (caller.isForeign === true) return isInToken === true
    if (!this.#isAllowed(caller, action, repository)) return false
    // An anonymous token carries no more than anybody has, and what anybody may needs no token.
    return isInToken !== false || caller.user === undefined || this.#isAllowed(anonymous, action, repository)
  }

  /** Whether the user may, whatever a token limits him to. */
  #isAllowed(caller: Caller, action: Action, repository: string): boolean {
    const { rights, anonymousPull } = this.#options
    if (caller.isEngine) return true
    if (rights !== undefined) return isGranted(rights, caller.user, action, repository)
    // With a token server, who comes without its token is sent there.
    return caller.user !== undefined || (action === 'pull' && anonymousPull !== false && this.#foreign === undefined)
  }

  /** Throws `unauthenticated` (with the challenge) or, for whom no other login would help, `permissionDenied`. */
  demand(caller: Caller, action: Action, repository: string): void {
    if (this.may(caller, action, repository)) return
    if (caller.user !== undefined && caller.isForeign !== true && !this.#isAllowed(caller, action, repository)) throw new Fault('permissionDenied', `user '${caller.user}' may not ${action} in repository '${repository}'`)
    // A token that lacks the scope can be exchanged for one that has it: challenge again.
    throw new Fault('unauthenticated', `${action} to repository '${repository}' needs a login`, { details: { scope: `repository:${repository}:${action === 'pull' ? 'pull' : `pull,${action}`}` } })
  }

  /** The `WWW-Authenticate` header for a request that came in at this address. */
  challenge(req: IncomingMessage, scope: string | undefined): string {
    const { tokenServer } = this.#options
    const asked = scope === undefined ? '' : `,scope="${scope}"`
    if (tokenServer !== undefined) return `Bearer realm="${tokenServer.realm}",service="${tokenServer.service}"${asked}`
    const scheme = req.socket instanceof TLSSocket ? 'https' : 'http'
    const host = /^[A-Za-z0-9.:[\]-]+$/.test(req.headers.host ?? '') ? req.headers.host : `${req.socket.localAddress}:${req.socket.localPort}`
    return `Bearer realm="${scheme}://${host}/token",service="berth"${asked}`
  }

  /** Answers `GET /token`: credentials in the header, `scope` as often as needed, `offline_token=true` for a refresh token beside. */
  async token(req: IncomingMessage, query: URLSearchParams): Promise<object> {
    const caller = await this.caller(req)
    const { answer } = this.#issue(caller, query)
    return { token: answer.access_token, ...answer, ...this.#refreshFor(caller, query.get('offline_token') === 'true') }
  }

  /** Answers `POST /token` (distribution "OAuth2 Token Authentication"): credentials in the form. */
  async grant(form: URLSearchParams): Promise<object> {
    const caller = await this.#granted(form)
    const { access, answer } = this.#issue(caller, form)
    return { ...answer, scope: formatScopes(access), ...this.#refreshFor(caller, form.get('access_type') === 'offline') }
  }

  async #granted(form: URLSearchParams): Promise<Caller> {
    if (this.isOpen) return anonymous
    const type = form.get('grant_type') ?? ''
    if (type === 'password') return await this.#checked(form.get('username') ?? '', form.get('password') ?? '')
    if (type !== 'refresh_token') throw new Fault('invalidArgument', `grant_type '${type.slice(0, 100)}' is unknown: expected password or refresh_token`, { details: { reason: 'UNSUPPORTED' } })
    const refresh = this.#tokens.readRefresh(form.get('refresh_token') ?? '')
    if (refresh === undefined || refresh.standing !== this.#users.standing(refresh.subject)) throw new Fault('unauthenticated', 'the refresh token is not valid (any more): log in again')
    return { user: refresh.subject, isEngine: false, token: undefined }
  }

  #issue(caller: Caller, asked: URLSearchParams): { readonly access: readonly Access[]; readonly answer: { readonly access_token: string; readonly expires_in: number; readonly issued_at: string } } {
    const access = parseScopes(asked.getAll('scope')).map(({ repository, actions }) => ({ repository, actions: actions.filter((action) => this.may(caller, action, repository)) }))
    return { access, answer: { access_token: this.#tokens.issue({ subject: caller.user ?? '', access }), expires_in: tokenLifetimeSeconds, issued_at: new Date(this.#options.clock.nowMs()).toISOString() } }
  }

  /** Only who has just proved a password of the file may keep something in its place. */
  #refreshFor({ user, token }: Caller, isAsked: boolean): { readonly refresh_token?: string } {
    const standing = user === undefined || token !== undefined ? undefined : this.#users.standing(user)
    return user === undefined || standing === undefined || !isAsked ? {} : { refresh_token: this.#tokens.issueRefresh({ subject: user, standing }) }
  }
}
