/**
 * Who may do what in which repositories, when the plain rule (anybody pulls, users push) is not enough. A list of grants; what none of
 * them grants is refused:
 *
 *     rights:
 *       - users: ['*']                    # everybody who has logged in
 *         repositories: ['public/**']
 *         actions: [pull]
 *       - users: [anonymous]              # who has not
 *         repositories: ['public/**']
 *         actions: [pull]
 *       - users: [ci, 'release-*']
 *         repositories: ['team/*', base]
 *         actions: [pull, push, delete]
 */
import { matchesGlob } from 'node:path'
import { Fault } from '#base/fault.ts'
import type { Node } from '#oci/json.ts'
import { asObject, optionalList } from '#oci/json.ts'
import type { Action } from './tokens.ts'

export interface Grant {
  /** Names of users or globs; `*` is everybody who has logged in, `anonymous` who has not. */
  readonly users: readonly string[]
  /** Globs over names of repositories: `*` within a part, `**` over parts. */
  readonly repositories: readonly string[]
  readonly actions: readonly Action[]
}

export type Rights = readonly Grant[]

const anonymousName = 'anonymous'

export function isGranted(rights: Rights, user: string | undefined, action: Action, repository: string): boolean {
  return rights.some(({ users, repositories, actions }) => actions.includes(action) && users.some((each) => isUser(each, user)) && repositories.some((glob) => matchesGlob(repository, glob)))
}

function isUser(pattern: string, user: string | undefined): boolean {
  return user === undefined ? pattern === anonymousName : pattern !== anonymousName && matchesGlob(user, pattern)
}

/** Reads the list as YAML or JSON has it; `where` starts the names of places in refusals (`invalidArgument`). */
export function parseRights(value: unknown, where = 'rights'): Rights {
  return optionalList(asObject({ rights: value }, ''), 'rights', (item, path) => {
    const node = asObject(item, path.replace(/^\.rights/, where))
    return { users: wordsAt(node, 'users'), repositories: wordsAt(node, 'repositories'), actions: wordsAt(node, 'actions').map((word) => actionOf(word, `${node.path}.actions`)) }
  }) ?? []
}

function wordsAt(node: Node, key: string): readonly string[] {
  return optionalList(node, key, (item, path) => {
    if (typeof item === 'string') return item
    throw new Fault('invalidArgument', `${path}: expected a string, found ${JSON.stringify(item)}`)
  }) ?? []
}

function actionOf(word: string, where: string): Action {
  if (word === 'pull' || word === 'push' || word === 'delete') return word
  throw new Fault('invalidArgument', `${where}: '${word}' is no action: expected pull, push or delete`)
}
