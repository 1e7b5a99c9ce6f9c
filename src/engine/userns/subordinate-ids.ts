/**
 * What `--userns-remap` means: the account whose ranges of subordinate ids (subuid(5), subgid(5)) stand for the ids inside containers.
 * `default` is the account `dockremap`, `user`, `user:group`, `uid` and `uid:gid` are others. dockerd makes `dockremap` and its ranges where they
 * are missing; here the owner of the machine is asked to: a container engine gives away no ids by itself.
 */
import { Fault } from '#base/fault.ts'
import { readTextIfThere } from '#base/files.ts'
import type { IdMapping, IdRange } from '#linux/contract/id-mapping.ts'

/** Where accounts and their ranges stand. */
const files = { passwd: '/etc/passwd', group: '/etc/group', subuid: '/etc/subuid', subgid: '/etc/subgid' }

type Accounts = { readonly [K in keyof typeof files]: string }

const defaultAccount = 'dockremap'

/** Undefined: nothing is mapped (the option is empty, or names root, whose ids are the machine's already). */
export async function mappingOfOption(option: string): Promise<IdMapping | undefined> {
  if (option === '') return undefined
  const [passwd, group, subuid, subgid] = await Promise.all([files.passwd, files.group, files.subuid, files.subgid].map(async (path) => (await readTextIfThere(path)) ?? ''))
  return mappingFor(option, { passwd: passwd ?? '', group: group ?? '', subuid: subuid ?? '', subgid: subgid ?? '' })
}

/** Faults: `invalidArgument` (an account, a group or its ranges that are not there), in dockerd's words where it has some. */
export function mappingFor(option: string, accounts: Accounts): IdMapping | undefined {
  const [user = '', group, ...rest] = option.split(':')
  if (user === '' || rest.length > 0) throw new Fault('invalidArgument', `Invalid user/group specification in --userns-remap: ${JSON.stringify(option)}`)
  const account = user === 'default' ? { name: defaultAccount, uid: undefined } : accountOf(user, accounts.passwd)
  if (group !== undefined) requireGroup(group, accounts.group)
  if (account.name === 'root') return undefined
  return { uids: ranges('subuid', account, accounts), gids: ranges('subgid', account, accounts) }
}

function rows(text: string): string[][] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.trim().split(':'))
}

function accountOf(user: string, passwd: string): { readonly name: string; readonly uid: string | undefined } {
  const isNumber = /^\d+$/.test(user)
  const found = rows(passwd).find(([name, , uid]) => (isNumber ? uid === user : name === user))
  if (found !== undefined) return { name: found[0] ?? '', uid: found[2] }
  throw new Fault('invalidArgument', isNumber ? `Uid ${user} has no entry in /etc/passwd: no matching entries in passwd file` : `Error during uid lookup for ${JSON.stringify(user)}: no matching entries in passwd file`)
}

function requireGroup(group: string, text: string): void {
  const isNumber = /^\d+$/.test(group)
  if (rows(text).some(([name, , gid]) => (isNumber ? gid === group : name === group))) return
  throw new Fault('invalidArgument', isNumber ? `Gid ${group} has no entry in /etc/group: no matching entries in group file` : `Error during groupname lookup for ${JSON.stringify(group)}: no matching entries in group file`)
}

/** The account's ranges one after another, the lowest first, as ids from 0 on. */
function ranges(kind: 'subuid' | 'subgid', { name, uid }: { readonly name: string; readonly uid: string | undefined }, accounts: Accounts): readonly IdRange[] {
  const own = rows(accounts[kind])
    .filter(([owner]) => owner === name || (uid !== undefined && owner === uid))
    .map(([, start, size]) => ({ hostId: Number(start), size: Number(size) }))
    .filter(({ hostId, size }) => Number.isSafeInteger(hostId) && hostId > 0 && size > 0)
    .sort((a, b) => a.hostId - b.hostId)
  if (own.length === 0) throw new Fault('invalidArgument', `userns-remap: no ${kind} ranges found for user ${JSON.stringify(name)}: add a line such as ${name}:165536:65536 (ids that nobody else has) to /etc/${kind}`)
  let containerId = 0
  return own.map(({ hostId, size }) => {
    const range = { containerId, hostId, size }
    containerId += size
    return range
  })
}
