/** `.dockerignore`: https://docs.docker.com/build/concepts/context/#dockerignore-files */
import { ignorePatterns, PathPatterns } from '#base/path-patterns.ts'
import { toBytePath, type FileTree } from './tree.ts'

/** The context without what the patterns exclude. */
export function withoutIgnored(tree: FileTree, ignore: PathPatterns): FileTree {
  return ignore.isEmpty ? tree : tree.filter((entry) => !ignore.matches(entry.path))
}

/** The patterns of an ignore file for paths of bytes. */
export function ignoredPaths(text: string): PathPatterns {
  return new PathPatterns(ignorePatterns(text).map(toBytePath))
}
