#!/bin/sh
# Starts Redis by ops/redis.conf, with passwords for its two users, and none but them (ops/compose.yaml).
set -eu

sed -e "s/^user tidemark-edge off/user tidemark-edge on >$EDGE_REDIS_PASSWORD/" \
    -e "s/^user tidemark-origin off/user tidemark-origin on >$ORIGIN_REDIS_PASSWORD/" \
    /etc/redis/redis.conf > /run/redis/redis.conf
echo 'user default off' >> /run/redis/redis.conf
exec redis-server /run/redis/redis.conf --bind '*' --dir /run/redis
