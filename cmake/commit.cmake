# Tells a program which commit it is built from: as a function for the build,
# and, run as a script by what that function adds, as the one who writes it down.

if(NOT CMAKE_SCRIPT_MODE_FILE)
    set(PEAL_COMMIT "" CACHE STRING
        "The commit, where the sources are not in a repository of their own")
    set(PEAL_COMMIT_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

    # peal_embed_commit(<target>)
    #
    # Adds base/commit.inc, a text for C, which is looked after in every build and
    # made anew when the commit is another one.
    function(peal_embed_commit target)
        set(folder ${PROJECT_BINARY_DIR}/embedded)
        set(command ${CMAKE_COMMAND} -DOUTPUT=${folder}/base/commit.inc
            -DSOURCE=${PROJECT_SOURCE_DIR} -DGIVEN=${PEAL_COMMIT}
            -P ${PEAL_COMMIT_SCRIPT})
        execute_process(COMMAND ${command}) # for linters
        add_custom_target(peal_commit
            COMMAND ${command}
            BYPRODUCTS ${folder}/base/commit.inc
            COMMENT ""
            VERBATIM)
        add_dependencies(${target} peal_commit)
        target_include_directories(${target} PRIVATE ${folder})
    endfunction()
    return()
endif()

set(commit "${GIVEN}")
if(commit STREQUAL "")
    execute_process(
        COMMAND git -C ${SOURCE} rev-parse --show-toplevel --short=12 HEAD
        OUTPUT_VARIABLE lines ERROR_QUIET RESULT_VARIABLE status)
    string(REGEX MATCHALL "[^\n]+" lines "${lines}")
    list(LENGTH lines count)
    # Copied into somebody else's repository it is not that one's commit.
    if(status EQUAL 0 AND count EQUAL 2)
        list(GET lines 0 top)
        file(REAL_PATH "${SOURCE}" source)
        if(top STREQUAL source)
            list(GET lines 1 commit)
        endif()
    endif()
endif()
if(NOT commit MATCHES "^[0-9A-Za-z._-]+$")
    set(commit "unknown")
endif()

set(former "")
if(EXISTS ${OUTPUT})
    file(READ ${OUTPUT} former)
endif()
if(NOT former STREQUAL "\"${commit}\"\n")
    file(WRITE ${OUTPUT} "\"${commit}\"\n")
endif()
