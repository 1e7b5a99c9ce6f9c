/** What a container left as its last words: the file it was given, or the end of its log (Kubernetes, "Determine the Reason for Pod Failure"). */
import type { Container, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { ContainerStatus } from '../../contract/runtime.ts'
import type { NodeFiles } from '../ports.ts'

const longestMessage = 4096
const longestFallback = 2048
const mostFallbackLines = 80

export async function terminationMessage(files: NodeFiles, path: string, container: Container | EphemeralContainer, status: ContainerStatus): Promise<string | undefined> {
  const written = await files.readEnd(path, longestMessage)
  if (written !== undefined && written.length > 0) return written.toString('utf8')
  if (container.terminationMessagePolicy !== 'FallbackToLogsOnError' || status.exitCode === 0) return undefined
  const log = await files.readEnd(status.logPath, 4 * longestFallback)
  if (log === undefined) return undefined
  const lines = log.toString('utf8').split('\n').map((line) => /^\S+ (?:stdout|stderr) \S+ (.*)$/.exec(line)?.[1])
  const text = lines.filter((line) => line !== undefined).slice(-mostFallbackLines).join('\n')
  return text === '' ? undefined : text.slice(-longestFallback)
}
