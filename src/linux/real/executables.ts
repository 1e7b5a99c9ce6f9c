/** Looking up executables. */
import { accessSync, constants, statSync } from 'node:fs'
import { errnoFault } from '../contract/errno.ts'

/** As a shell looks it up: a name with a slash is a path, any other is searched in `path`. Faults: `notFound` ("executable file not found"), `permissionDenied`. */
export function findExecutable(name: string, path: string): string {
  const candidates = name.includes('/') ? [name] : path.split(':').map((folder) => `${folder}/${name}`)
  let refused = false
  for (const candidate of candidates) {
    if (!statSync(candidate, { throwIfNoEntry: false })?.isFile()) continue
    try {
      accessSync(candidate, constants.X_OK)
      return candidate
    } catch {
      refused = true
    }
  }
  throw refused ? errnoFault('EACCES', `start '${name}': permission denied`) : errnoFault('ENOENT', `start '${name}': executable file not found`)
}
