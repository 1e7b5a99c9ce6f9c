/**
 * Why a case of podman's suites fails: where podman differs from Docker. Needed where dockerd 20.10 does not fail it in the very same
 * words (else the run says so of itself). Each was checked against moby's source.
 */

type Reasons = readonly (readonly [pattern: RegExp, reason: string])[]

const apiReasons: Reasons = [
  [/^\[50-secrets\]/, 'podman has secrets of its own; in Docker they are swarm’s, and an engine outside a swarm answers 503, as Berth always does'],
  [/filters=(garb1age|\{"label":\["tes)/, 'podman answers 500 to filters that are no JSON, with the words of its JSON reader in .cause, as dockerd 20.10 does; Docker has made it 400 since (moby api filters.FromJSON: invalidFilter), and so does Berth'],
  [/version : \.(ApiVersion|MinAPIVersion|Components)/i, 'podman’s own versions and names, 1.41 for the API; Berth serves 1.24 to 1.50'],
  [/prune\?filters=\{"(name|id|network|driver|scope|until)"/, 'podman answers 500 with words of its own to a filter that the prune does not know, and takes until for volumes; Docker answers 400 (moby Args.Validate)'],
  [/events\?stream=false&since=\d+s|events\?stream=false&since=\(T\)s/, 'Docker takes no duration for since either: 500 from dockerd 20.10, 400 from later ones (moby getEvents) and from Berth'],
  [/attach\?logs=true&stream=false.*status|hijacked connection/, 'the streams of an attach must be asked for in Docker; podman sends both unasked'],
  [/images\/(foo\/)?get(\?\S*)? : output/, 'podman sends an archive as application/octet-stream, of which alone the suite tells the kind; Docker’s is application/x-tar (moby getImagesGet)'],
  [/images\/(testimage:|alpine\/|localhost\/(foo|bar))/, 'podman finds an image of any registry, and its own localhost, by a short name; to Docker `alpine` is docker.io/library/alpine and nothing else'],
  [/^\[70-short-names\] GET images\/foo\/get : (status \(2\)|\.cause)/, 'Docker saves every tag of a name without one (moby tarexport), and foo:tag is there; podman takes foo for foo:latest'],
  [/fromImage=quay\.io\/idonotexist/, 'podman hands on the registry’s words; Docker says of which image (moby translatePullError: manifest for … not found)'],
  [/system\/df : output/, 'Docker tells clients before 1.42 the BuilderSize (moby getDiskUsage); podman, which answers as 1.41, does not'],
  [/events\S* : select\(\.status \| contains\("delete"\)/, 'to Docker what is built of FROM alone is the base itself, and losing its name untags it; podman has made another image, which is deleted. What is found are removals of the same second'],
  [/auth \[.* : \.message/, 'podman asks a terminal for what the request leaves out, and names the host that it did not find in Go’s words; the refusal itself is equal'],
]

const compatReasons: Reasons = [
  [/test_load_corrupt_image$/, 'Docker answers 200 and an errorDetail, which docker-py raises as ImageLoadError; podman answers an error status. dockerd fails it too, in other words'],
  [/test_search_bogus_image$/, 'podman takes bogus for a host and does not find it; Docker (moby splitReposSearchTerm) asks the hub for bogus/bogus, whose answer is an empty list'],
]

const reasonIn = (reasons: Reasons, name: string): string | undefined => reasons.find(([pattern]) => pattern.test(name))?.[1]

export const apiReason = (name: string): string | undefined => reasonIn(apiReasons, name)

export const compatReason = (name: string): string | undefined => reasonIn(compatReasons, name)
