/** Images: list, inspect, history, tag, remove, prune, save, load, import, pull, push, search, login, commit. */
import type { CliCase } from '../case.ts'

export const imageCases: readonly CliCase[] = [
  {
    name: 'images/lists',
    lines: [
      'docker images', 'docker image ls', 'docker image list -a', 'docker images --all --quiet', 'docker images --no-trunc', 'docker images --digests', 'docker tag bb:1 localhost:5000/team/bb:2', 'docker images bb', 'docker images localhost:5000/team/bb:2 --format "{{.Repository}} {{.Tag}} {{.ID}} {{.Size}} {{.Digest}} {{.CreatedSince}} {{.Containers}}"',
      'docker images --filter reference="bb:*"', 'docker images -f dangling=true', 'docker images -f label=from=image -q', 'docker images -f label=nosuch -q', 'docker images -f before=bb:1 -q', 'docker images -f since=bb:1 -q', '! docker images -f odd=1', '! docker images -f before=nosuch', '! docker images -f dangling=odd', 'docker images --format json | sort',
      'docker images --format "table {{.Repository}}\\t{{.Tag}}" | sort', 'docker images nosuch',
    ],
  },
  { name: 'images/tree', clients: ['28'], lines: ['! docker images --tree', 'docker image inspect --format "{{.Id}}" bb:1'], exitCodesAt150: { 0: 0 } },
  { name: 'images/platform flags of client 28', clients: ['28'], lines: ['! docker image inspect --platform linux/amd64 bb:1', '! docker history --platform linux/amd64 bb:1', '! docker image history --platform linux/amd64 bb:1', '! docker save --platform linux/amd64 -o x.tar bb:1', '! docker load --platform linux/amd64 -i bb.tar', '! docker rmi --platform linux/amd64 bb:1', '! docker image rm --platform linux/arm64 bb:1', '! docker push --platform linux/amd64 localhost:5000/bb:1'], exitCodesAt150: { 0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0 } },
  {
    name: 'images/inspect and history',
    lines: ['docker image inspect bb:1', 'docker inspect --type image -f "{{json .Config}}" bb:1', 'docker image inspect -f "{{.RepoTags}} {{.Size}} {{.Architecture}} {{.Os}} {{.RootFS}}" bb:1', 'docker history bb:1', 'docker image history --no-trunc bb:1', 'docker history --quiet bb:1', 'docker history --human=false --format "{{.ID}} {{.CreatedBy}} {{.Size}} {{.Comment}} {{.CreatedAt}}" bb:1', '! docker image inspect nosuch', '! docker history nosuch', '! docker inspect --type image nosuch'],
  },
  {
    name: 'images/tag and remove',
    lines: [
      'docker tag bb:1 one:1', 'docker image tag one:1 two', '! docker tag nosuch x', "! docker tag bb:1 'BAD NAME'", '! docker tag bb:1 UPPER', 'docker rmi one:1', 'docker image rm two:latest', '! docker rmi two', '! docker image remove nosuch', 'docker create --name uses bb:1 >/dev/null', '! docker rmi bb:1', 'docker tag bb:1 other:1', 'docker rmi --no-prune other:1',
      'docker commit uses made:1 >/dev/null', 'docker run -d --name runs made:1 sleep 100 >/dev/null', '! docker rmi made:1', 'docker rmi --force made:1 | sort', 'docker rm -f runs', 'docker images -q made',
    ],
  },
  {
    name: 'images/prune',
    lines: ['docker create --name cc bb:1 >/dev/null', 'docker commit cc dangling:1 >/dev/null; docker commit -m other cc dangling:1 >/dev/null', 'docker images -f dangling=true -q | wc -l', 'docker image prune -f | grep -c deleted', 'docker image prune --force --filter until=1h', 'docker image prune -af --filter label=nosuch', 'docker rm cc', 'docker image prune --all --force --filter label!=from | grep -v "^deleted"', 'docker images --format "{{.Repository}}"', '! docker image prune -f --filter odd=1', 'echo n | docker image prune'],
  },
  {
    name: 'images/save and load',
    lines: [
      'docker tag bb:1 second:1', 'docker save -o both.tar bb:1 second:1', 'docker image save --output one.tar bb', '! docker save -o x.tar nosuch', 'docker save bb:1 | tar -t | grep -c manifest.json', "tar -xOf both.tar manifest.json | grep -o 'RepoTags\":[^]]*'", 'docker rmi second:1', 'docker load -i both.tar', 'docker image load --quiet --input both.tar', 'docker load -q < both.tar',
      '! docker load -i nosuch.tar', 'echo nonsense > bad.tar; ! docker load -i bad.tar', '! docker save -o /nosuch/dir/x.tar bb:1', 'docker images --format "{{.Repository}}:{{.Tag}} {{.ID}}" | sort', '! docker load -i /dev/null',
    ],
  },
  {
    name: 'images/import and export',
    lines: [
      'docker create --name src bb:1 >/dev/null', 'docker export -o root.tar src', 'docker container export src | tar -t | grep -c bin/busybox', 'docker container export --output again.tar src', "docker import -c 'CMD [\"echo\",\"hi\"]' --change 'ENV A=b' --message imported root.tar imp:1 >/dev/null", 'docker run --rm imp:1', 'docker image inspect -f "{{json .Config}} {{.Comment}}" imp:1', 'docker image import -m words - imp:2 < root.tar >/dev/null', 'docker history imp:1 --format "{{.Comment}}|{{.CreatedBy}}"',
      'docker import --platform linux/amd64 root.tar imp:3 >/dev/null', 'docker import --platform linux/nonsense root.tar >/dev/null', '! docker import nosuch.tar', "! docker import -c 'NOPE x' root.tar", '! docker import root.tar BAD:name:x', '! docker export nosuch', 'docker images imp --format "{{.Tag}}" | sort', '! docker export -o /nosuch/x src',
    ],
  },
  {
    name: 'images/import from an address',
    lines: [
      'docker create --name src bb:1 >/dev/null; docker export -o root.tar src; gzip -k root.tar', 'busybox httpd -f -p 127.0.0.1:8099 >/dev/null 2>&1 & echo $! >pid; eventually wget -q -O /dev/null http://127.0.0.1:8099/root.tar', 'docker import http://127.0.0.1:8099/root.tar imp:1 | sed "s/sha256:.*/ID/"', 'docker history imp:1 --format "{{.Comment}}|{{.CreatedBy}}"', "docker import -c 'CMD [\"echo\",\"hi\"]' -m words http://127.0.0.1:8099/root.tar.gz imp:2 >/dev/null", 'docker run --rm imp:2', 'docker history imp:2 --format "{{.Comment}}"', 'pty -- docker import http://127.0.0.1:8099/root.tar.gz | grep -c Importing >/dev/null',
      '! docker import http://127.0.0.1:8099/nosuch.tar imp:3', '! docker import http://127.0.0.1:8099/root.tar BAD:name:x', "docker images imp --format '{{.Tag}}' | sort", 'kill $(cat pid)', '! docker import http://127.0.0.1:8099/root.tar imp:4 2>/dev/null',
    ],
  },
  {
    name: 'images/commit',
    lines: [
      'docker run --name cc -e A=b bb:1 sh -c "echo made > /file"', "docker commit --author me --message words --change 'CMD [\"cat\",\"/file\"]' -c 'ENV C=d' -c 'EXPOSE 80' -c 'LABEL x=y' -c 'WORKDIR /w' -c 'USER bob' -c 'VOLUME /v' --pause=false cc com:1 >/dev/null",
      'docker image inspect -f "{{.Author}} {{.Comment}} {{.Config}} {{.Parent}}" com:1', 'docker run --rm -u root com:1', 'docker container commit cc >/dev/null', 'docker container commit -a other -m more -p cc com:2 >/dev/null', 'docker history com:2 --format "{{.CreatedBy}} {{.Comment}} {{.Size}}"', '! docker commit nosuch', '! docker commit cc BAD', "! docker commit -c 'NOPE x' cc", "! docker commit -c 'RUN true' cc", 'docker diff cc',
    ],
  },
  {
    name: 'images/pull and push',
    lines: [
      'docker tag bb:1 localhost:5000/team/bb:1', 'docker push localhost:5000/team/bb:1 | grep -v Pushed | grep -v Prepar | grep -v Wait | grep -v already', 'docker image push --quiet localhost:5000/team/bb:1', 'docker tag bb:1 localhost:5000/team/bb:two', 'docker push -a -q localhost:5000/team/bb', 'docker push --disable-content-trust=true --all-tags --quiet localhost:5000/team/bb', 'docker rmi localhost:5000/team/bb:1 localhost:5000/team/bb:two | sort', 'docker pull localhost:5000/team/bb:1', 'docker pull localhost:5000/team/bb:1', 'docker image pull --quiet localhost:5000/team/bb:1', 'docker pull --all-tags -q localhost:5000/team/bb', 'docker pull --disable-content-trust=true --platform linux/amd64 -q localhost:5000/team/bb:1',
      'docker images --digests localhost:5000/team/bb | sort', '! docker pull localhost:5000/nosuch:1', '! docker pull localhost:5000/team/bb:nosuch', '! docker push localhost:5000/nosuch', '! docker pull localhost:5999/x', '! docker pull BAD', '! docker pull -a localhost:5000/team/bb:1', 'docker rmi -f localhost:5000/team/bb:1 >/dev/null; docker run --rm --pull always localhost:5000/team/bb:1 true', '! docker run --rm localhost:5000/nosuch true', 'docker create --pull always --quiet localhost:5000/team/bb:1 >/dev/null || docker create --pull always localhost:5000/team/bb:1 >/dev/null 2>&1',
    ],
  },
  {
    name: 'images/search',
    lines: ['docker search localhost:5001/team', 'docker search --no-trunc localhost:5001/team', 'docker search --limit 2 --format "{{.Name}} {{.StarCount}} {{.IsOfficial}}" localhost:5001/team', 'docker search -f stars=3 -f is-official=false localhost:5001/team', '! docker search --filter odd=1 localhost:5001/team', '! docker search --limit 1000 localhost:5001/team', '! docker search localhost:5999/team'],
  },
  {
    name: 'images/login and logout',
    lines: ['docker login -u me -p secret localhost:5000 2>/dev/null', 'echo secret | docker login --username me --password-stdin localhost:5000 2>/dev/null', 'docker logout localhost:5000', '! docker login --username me --password x localhost:5999', '! docker login -u me -p x --password-stdin localhost:5000 </dev/null'],
  },
]
