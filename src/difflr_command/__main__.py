"""`python -m difflr_command` is `difflr`."""

from difflr_command import main

if __name__ == "__main__":
    main()
