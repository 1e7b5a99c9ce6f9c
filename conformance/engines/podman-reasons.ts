/**
 * Why a case of podman's suites fails: where podman differs from Docker. Each was checked against moby's source and API 1.50; what both
 * engines fail in the same words, and no pattern names, is explained by that alone.
 */
import type { Verdict } from '../record.ts'

type Reasons = readonly (readonly [pattern: RegExp, reason: string])[]

/** Where podman is as dockerd 20.10, and Docker has changed since. */
const sinceChanged: Reasons = [
  [/^\[50-secrets\]/, 'podman has secrets of its own; in Docker they are swarm’s, and an engine outside a swarm answers 503, as Berth always does'],
  [/filters=(garb1age|\{"label":\["tes)/, 'podman answers 500 to filters that are no JSON, with the words of its JSON reader in .cause, as dockerd 20.10 does; Docker has made it 400 since (moby filters.FromJSON: invalidFilter), and so does Berth'],
  [/version : \.(ApiVersion|MinAPIVersion|Components)/i, 'podman’s own versions and names, 1.41 for the API; Berth serves 1.24 to 1.50'],
]

/** Where podman is not as Docker ever was: dockerd fails these too. */
const podmanDiffers: Reasons = [
  [/^\[01-basic\] \w+ \/?(_ping|info) \[-d \{\}\] : status/, 'podman answers 405 to a method that a path has not; Docker’s router 404, page not found'],
  [/prune\?filters=\{"(name|id|network|driver|scope|until)"|filters=\{"dangling":\["true","0"\]\}/, 'podman answers 500 with words of its own to a filter it does not take, and takes until for volumes; Docker answers 400 (moby Args.Validate)'],
  [/events\?stream=false&since=(\d+|\(T\))s/, 'Docker takes no duration for since either: 500 from dockerd 20.10, 400 from later ones (moby getEvents) and from Berth'],
  [/events\S* : select\(\.status \| contains\("delete"\)/, 'to Docker what is built of FROM alone is the base itself, and losing its name untags it; podman has made another image, which is deleted. What is found are removals of the same second'],
  [/events\S*type=remove : /, 'podman takes a removal for a type of events; in Docker it is an action'],
  [/attach\?logs=true&stream=false.*status|hijacked connection/, 'the streams of an attach must be asked for in Docker; podman sends both unasked'],
  [/images\/(foo\/)?get(\?\S*)? : output/, 'podman sends an archive as application/octet-stream, of which alone the suite tells the kind; Docker’s is application/x-tar (moby getImagesGet)'],
  [/images\/(testimage:|alpine\/|localhost\/(foo|bar|newrepo))|^\[70-short-names\] \w+ (containers|commit|images\/foo\S* \[-d)/, 'podman finds an image of any registry, and its own localhost, by a short name; to Docker `alpine` is docker.io/library/alpine and nothing else, and what needs the container or image that was not made fails after it'],
  [/^\[70-short-names\] GET images\/foo\/get : (status \(2\)|\.cause)/, 'Docker saves every tag of a name without one (moby tarexport), and foo:tag is there; podman takes foo for foo:latest'],
  [/fromImage=quay\.io\/idonotexist/, 'podman hands on the registry’s words; Docker says of which image (moby translatePullError: manifest for … not found)'],
  [/images\/ID\/history : \.\[\d\]\.Id/, 'podman writes sha256:<missing>; Docker <missing>'],
  [/images\/ID\/history : \.\[0\]\.Size/, 'podman counts the layer’s archive; Docker the bytes of its files'],
  [/images\/json\?filter=nonesuch/, 'Docker has known no parameter `filter` since API 1.41'],
  [/: \.RepoTags\[0\]/, 'podman shows docker.io/library/ in full; Docker the name as users write it'],
  [/build\S* : \.(stream|message)|POST commit\S* \[-d \{\}\] : \.Id|images\/load : \.stream|images\/create\S* \[-d \{\}\] : \.status/, 'words of podman’s builder, pull and load; Docker’s differ, and its ids begin with sha256:'],
  [/images\/\S*push\?|Push to local registry/, 'Docker trusts registries on localhost without TLS, tells of a failed push in its stream under status 200, and has other words for progress'],
  [/networks\/podman|Networks\.podman/, 'the first network is called podman there, bridge in Docker'],
  [/networks\/netcon\/connect/, 'podman answers OK, Docker nothing'],
  [/ : \.cause$/, 'podman’s errors have a .cause, Docker’s have not'],
  [/containers\/ID\/json : \.(Config\.(Cmd|Healthcheck|StopTimeout)|HostConfig\.NetworkMode)/, 'podman shows what it fills in; Docker what was asked for'],
  [/containers\/ID\/json : \.HostConfig\.(Binds|Tmpfs)/, 'podman shows every mount in Binds and Tmpfs, with the options it adds; Docker shows what was asked for, where it was asked for'],
  [/\.Mounts\[0\]\.Destination/, 'Docker cleans a path, podman leaves its slash'],
  [/HostConfig\.Annotations/, 'the suite asks at 1.41; Docker has annotations since API 1.43'],
  [/status-test\/json : \.State\.Status/, 'podman has a state `stopping`; to Docker it runs until it has stopped'],
  [/updateCtr\/(update|json)|^\[20-containers\] POST exec\/ID\/start .*output/, 'the limits looked for were set through podman’s own API (libpod); Docker’s update refuses memory above memory and swap, and has no limits per device'],
  [/multiplexed-stream libpod/, 'asked of podman’s own API, whose streams are Docker’s raw ones here'],
  [/fetched tarball: file uid\/gid/, 'podman gives what is copied in to root; Docker keeps its owner'],
  [/volumes\/create \[-d \{\}\] : \.Labels/, 'podman shows {} for no labels; Docker null'],
  [/system\/df : output/, 'Docker tells clients before 1.42 the BuilderSize (moby getDiskUsage); podman, which answers as 1.41, does not'],
  [/auth \[.* : \.message/, 'podman asks a terminal for what the request leaves out, and names the host that it did not find in Go’s words; the refusal itself is equal'],
  [/^\[80-kube\]/, 'podman’s own: pods from and to Kubernetes’ objects'],
]

const compatReasons: Reasons = [
  [/test_load_corrupt_image$/, 'Docker answers 200 and an errorDetail, which docker-py raises as ImageLoadError; podman answers an error status'],
  [/test_search_bogus_image$/, 'podman takes bogus for a host and does not find it; Docker (moby splitReposSearchTerm) asks the hub for bogus/bogus, whose answer is an empty list'],
  [/test_search_image$/, 'podman’s results have a Name; Docker’s a name (API ImageSearch)'],
  [/test_build_pull$/, 'the suite waits for podman’s “Trying to pull”; Docker says “Pulling from”'],
  [/test_(container_inspect_compatibility|copy_to_container|create_container|create_network|list_container|mount_rw_by_default)$/, 'podman finds quay.io/libpod/alpine by the short name alpine; to Docker that is docker.io/library/alpine'],
  [/test_(pause_stopped_container|remove_container_without_force)$/, 'podman answers 500; Docker 409, conflict'],
  [/test_list_images$/, 'podman finds quay.io/libpod/alpine by the filter alpine; Docker compares whole names'],
  [/test_info$/, 'podman’s registries.conf of the suite names localhost:5000'],
]

const reasonIn = (reasons: Reasons, name: string): string | undefined => reasons.find(([pattern]) => pattern.test(name))?.[1]

export function apiReason(name: string, dockerd: Verdict): string | undefined {
  return reasonIn(dockerd === 'passed' ? sinceChanged : [...sinceChanged, ...podmanDiffers], name)
}

export function compatReason(name: string, dockerd: Verdict): string | undefined {
  return dockerd === 'passed' ? undefined : reasonIn(compatReasons, name)
}
