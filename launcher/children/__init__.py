"""One child process: how it is spawned, watched, asked and measured."""
