"""Root. `python -m churnsignal_devstack.inbox`: Slack and mail for machines that have neither."""

import asyncio

from churnsignal_devstack.inbox.app import read_settings, run

if __name__ == "__main__":
    asyncio.run(run(read_settings()))
