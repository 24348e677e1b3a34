#!/bin/sh
# Prints the secrets that docker-compose.yml asks for, made here and now: (umask 077; infra/secrets.sh > .env)
set -eu

secret() {
    # 40 characters of 64: 240 random bits.
    head -c 30 /dev/urandom | base64 | tr '+/' '-_'
}

echo "# Made by infra/secrets.sh. Keep it: the data of the volumes belong to it."
echo "DRIFTLOOP_API_KEY=$(secret)"
echo "POSTGRES_PASSWORD=$(secret)"
for service in REGISTRY FEATURE_STORE MONITOR RETRAINER; do
    echo "${service}_OWNER_PASSWORD=$(secret)"
    echo "${service}_PASSWORD=$(secret)"
done
