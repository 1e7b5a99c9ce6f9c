/** Why a case of podman's suites fails though dockerd does not answer in the very same words: where podman differs from Docker. */

const apiReasons: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/filters=(garb1age|\{"label":\["tes)/, 'podman answers 500 to filters that are no JSON, with the words of its JSON reader in .cause; later Docker answers 400, and so does Berth'],
  [/version : \.(ApiVersion|MinAPIVersion|Components)/i, "the versions and names of podman; Berth serves 1.24 to 1.50"],
  [/^\[50-secrets\]/, 'secrets are swarm’s in Docker, which Berth has not; podman has its own'],
  [/prune\?filters=\{"(name|id|network|driver|scope|until)"/, 'podman answers 500 with words of its own to a filter that the prune does not know, and takes until for volumes; Docker answers 400'],
  [/events\?stream=false&since=\(T\)s/, 'Docker takes no duration as since either; dockerd 20.10 answers 500 where later ones answer 400'],
  [/attach\?logs=true&stream=false.*status|hijacked connection/, 'the streams of an attach must be asked for in Docker; podman sends both unasked'],
]

export function apiReason(name: string): string | undefined {
  return apiReasons.find(([pattern]) => pattern.test(name))?.[1]
}

const compatReasons: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/test_load_corrupt_image$/, 'Docker answers 200 and an errorDetail, which docker-py raises as ImageLoadError; podman answers an error status. dockerd fails it too, in other words'],
]

export function compatReason(name: string): string | undefined {
  return compatReasons.find(([pattern]) => pattern.test(name))?.[1]
}
