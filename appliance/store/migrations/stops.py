"""Webhooks are told of rollouts that stop, too."""

STEP: tuple[str, ...] = (
    # Before: a rollout is written anew whenever anything of it changes, and it is told once.
    """CREATE TRIGGER rollout_is_told BEFORE INSERT ON rollout
        WHEN NEW.state = 'stopped' AND NOT EXISTS (
            SELECT 1 FROM rollout WHERE profile = NEW.profile AND channel = NEW.channel
            AND release = NEW.release AND state = 'stopped'
        ) BEGIN
            INSERT INTO happening VALUES (
                'rollout.stopped', NEW.profile || '/' || NEW.channel, trim(NEW.release || ' ' || NEW.why),
                (julianday('now') - 2440587.5) * 86400.0
            );
        END""",
)
