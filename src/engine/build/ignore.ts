/** `.dockerignore`: https://docs.docker.com/build/concepts/context/#dockerignore-files. Patterns are matched by @balena/dockerignore. */
import dockerignore from '@balena/dockerignore'
import { fromBytePath, type FileTree, type TreeEntry } from './tree.ts'

/** The context without what the patterns exclude. The Dockerfile itself can be read nevertheless: it is read before. */
export function withoutIgnored(tree: FileTree, patterns: string): FileTree {
  const lines = patterns.replace(/^\uFEFF/, '').split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#'))
  if (lines.length === 0) return tree
  const filter = dockerignore().add(lines)
  return tree.filter((entry: TreeEntry) => !filter.ignores(fromBytePath(entry.path)))
}
