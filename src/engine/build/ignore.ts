/** `.dockerignore`: https://docs.docker.com/build/concepts/context/#dockerignore-files. Patterns are matched by @balena/dockerignore. */
import { default as dockerignore } from '@balena/dockerignore'
import { fromBytePath, type FileTree } from './tree.ts'

/** Its declaration file says `export default` of a CommonJS module, which `nodenext` reads as a property of the function. */
const createFilter = dockerignore.default

/** The context without what the patterns exclude; the last pattern that matches a path decides. */
export function withoutIgnored(tree: FileTree, patterns: string): FileTree {
  const lines = ignorePatterns(patterns)
  if (lines.length === 0) return tree
  const filter = createFilter().add([...lines])
  return tree.filter((entry) => !filter.ignores(fromBytePath(entry.path)))
}

/** The patterns of an ignore file, without comments and empty lines. */
export function ignorePatterns(text: string): readonly string[] {
  return text.replace(/^\uFEFF/, '').split(/\r?\n/).filter((line) => !line.startsWith('#')).map((line) => line.trim()).filter((line) => line !== '')
}
