# The JavaScript client has a test runner of its own, which needs Node 20 and the
# examples to talk to. It is the same whatever the server was built with, so it
# runs in one build only.

if(NOT TARGET peal_static OR PEAL_SANITIZE OR PEAL_COVERAGE)
    return()
endif()

find_program(PEAL_NPM npm)
if(NOT PEAL_NPM OR NOT EXISTS ${root}/clients/js/node_modules)
    message(STATUS "clients/js is not tested: no npm packages (scripts/setup)")
    return()
endif()
peal_test(clients.js clients ${PEAL_NPM} test --silent)
set_tests_properties(clients.js PROPERTIES
    WORKING_DIRECTORY ${root}/clients/js
    TIMEOUT 300)
