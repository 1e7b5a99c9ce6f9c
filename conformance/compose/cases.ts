/** The stories told to compose, one per project folder: each line is a compose command, `docker …` or `get URL`. */
export interface ComposeStory {
  readonly project: string
  readonly steps: readonly string[]
}

export const composeStories: readonly ComposeStory[] = [
  {
    project: 'app',
    steps: [
      'config --services',
      'build',
      'up -d',
      'ps -a',
      'get http://127.0.0.1:18080/index.html',
      'port web 80',
      'logs --no-color migrate client',
      'exec -T client wget -q -O - http://www.example.test/index.html',
      'exec -T web cat /shared/migrated',
      'exec -T web sh -c "echo $$FROM_FILE $$QUOTED $$MODE $$BUILT; hostname; grep files /proc/1/limits; ls -d /anonymous"',
      'exec -T -e ADDED=1 -w /tmp web sh -c "echo $$ADDED; pwd"',
      'exec -T web sh -c "exit 7"',
      'up -d',
      'top client',
      'images -q',
      'stop',
      'start',
      'down',
      'up -d --no-deps web',
      'down -v --rmi local',
    ],
  },
  {
    project: 'life',
    steps: [
      'up -d',
      'docker wait life_failing_1',
      'logs --no-color steady failing',
      'logs --no-color --tail=1 steady',
      'ps -a',
      'exec -T steady sh -c "echo $$WHO"',
      'run --rm tool',
      'run --rm tool given words',
      'run --rm --entrypoint sh -e EXTRA=1 tool -c "echo $$EXTRA; exit 4"',
      'run -d --name life-oneoff --entrypoint sleep tool 300',
      'docker rm -fv life-oneoff',
      'pause steady',
      'unpause steady',
      'restart -t 5 steady',
      'kill -s TERM failing',
      'kill steady',
      'rm -fsv',
      'create',
      'start steady',
      'down -v -t 1',
    ],
  },
  {
    project: 'changes',
    steps: ['up -d', 'up -d', 'SETTING=two up -d', 'up -d --force-recreate kept', 'up -d -V kept', '-f docker-compose.yml -f more.yml up -d', 'up -d', 'up -d --remove-orphans', 'SETTING=three up -d --no-recreate', 'down -v'],
  },
  {
    project: 'profiles',
    steps: ['up -d', 'docker volume create compose_outside', 'up -d', '--profile debug up -d', 'exec -T worker sh -c "echo $$COMMON $$OWN; touch /x; touch /tmp/fast/x && echo written"', 'up -d --scale worker=3', 'ps -q', 'up -d --scale worker=1', '--profile debug down', 'docker volume rm compose_outside'],
  },
]
