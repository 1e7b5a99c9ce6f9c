/** Why a case of podman's suites fails though dockerd does not answer in the very same words: where podman differs from Docker. */

const apiReasons: readonly (readonly [pattern: RegExp, reason: string])[] = []

export function apiReason(name: string): string | undefined {
  return apiReasons.find(([pattern]) => pattern.test(name))?.[1]
}

const compatReasons: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/test_load_corrupt_image$/, 'Docker answers 200 and an errorDetail, which docker-py raises as ImageLoadError; podman answers an error status. dockerd fails it too, in other words'],
]

export function compatReason(name: string): string | undefined {
  return compatReasons.find(([pattern]) => pattern.test(name))?.[1]
}
