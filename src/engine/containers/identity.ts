/**
 * Which uid and gids a `USER`/`--user` means: names are looked up in the container's own /etc/passwd and /etc/group (passwd(5),
 * group(5)), whose paths are resolved inside the container's root, so that no link leads to the host's files.
 */
import { lstat, open, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'

export interface Identity {
  readonly uid: number
  readonly gid: number
  readonly additionalGids: readonly number[]
  readonly home: string
}

/** The host path of `path` with every link followed inside `root`. What does not exist is returned as it would be. */
export async function resolveInRoot(root: string, path: string): Promise<string> {
  const rest = path.split('/').filter((part) => part !== '' && part !== '.')
  const done: string[] = []
  let links = 0
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    if (part === '..') {
      done.pop()
      continue
    }
    const here = join(root, ...done, part)
    const target = await linkTarget(here)
    if (target === undefined) {
      done.push(part)
      continue
    }
    links += 1
    if (links > 40) throw new Fault('invalidArgument', `${path}: too many links`)
    if (target.startsWith('/')) done.length = 0
    rest.unshift(...target.split('/').filter((piece) => piece !== '' && piece !== '.'))
  }
  return join(root, ...done)
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return (await lstat(path)).isSymbolicLink() ? await readlink(path) : undefined
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}

const longestAccountsBytes = 4 << 20

async function readLines(root: string, path: string): Promise<readonly string[][]> {
  try {
    await using file = await open(await resolveInRoot(root, path), 'r')
    const { size } = await file.stat()
    if (size > longestAccountsBytes) throw new Fault('invalidArgument', `${path} in the container is larger than ${longestAccountsBytes} bytes`)
    const text = await file.readFile('utf8')
    return text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.trim().split(':'))
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return []
    throw error
  }
}

const highestId = 2 ** 31 - 1

function numericId(text: string): number | undefined {
  if (!/^\d+$/.test(text)) return undefined
  const id = Number(text)
  if (id > highestId) throw new Fault('invalidArgument', `uids and gids must be in range 0-${highestId}`)
  return id
}

/** `invalidArgument` in Docker's words when a name is not there. */
export async function lookUpIdentity(root: string, user: string, groupAdd: readonly string[]): Promise<Identity> {
  const colon = user.indexOf(':')
  const userPart = colon < 0 ? user : user.slice(0, colon)
  const groupPart = colon < 0 ? '' : user.slice(colon + 1)
  const numericUid = numericId(userPart)
  const [passwd, groups] = await Promise.all([readLines(root, '/etc/passwd'), readLines(root, '/etc/group')])
  const wanted = userPart === '' ? '0' : userPart
  const account = passwd.find(([name, , uid]) => name === wanted || (numericId(wanted) !== undefined && uid === wanted))
  if (account === undefined && userPart !== '' && numericUid === undefined) throw new Fault('invalidArgument', `unable to find user ${userPart}: no matching entries in passwd file`)
  const uid = account === undefined ? (numericUid ?? 0) : Number(account[2])
  const primary = account === undefined ? 0 : Number(account[3])
  const gid = groupPart === '' ? primary : groupId(groups, groupPart)
  const name = account?.[0]
  // An explicit group replaces the account's own supplementary ones.
  const memberOf = groupPart !== '' || name === undefined ? [] : groups.filter(([, , , members]) => members?.split(',').includes(name)).map(([, , id]) => Number(id))
  const added = groupAdd.map((group) => groupId(groups, group))
  // The primary group is among them, or a group's negative permissions could be passed by (CVE-2022-36109).
  const additional = [...new Set([gid, ...memberOf, ...added])].filter((id) => Number.isInteger(id))
  return { uid, gid, additionalGids: additional, home: account?.[5] === undefined || account[5] === '' ? '/' : account[5] }
}

function groupId(groups: readonly string[][], text: string): number {
  const entry = groups.find(([name]) => name === text)
  if (entry !== undefined) return Number(entry[2])
  const number = numericId(text)
  if (number === undefined) throw new Fault('invalidArgument', `Unable to find group ${text}: no matching entries in group file`)
  return number
}
